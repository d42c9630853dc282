"""How long a training still takes, from what it has done since it was started."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from statistics import fmean
from typing import Any

from headwater.train.settings import TrainSettings, probe_steps, validation_steps

SLOW_START = 2  # first steps of a process, in which kernels may be compiled
RECENT = 200  # steps: a disturbance that has passed is forgotten


class TimeLeft:
    """Counts steps, and evaluations apart from them: most come early, and would pass for slow steps."""

    def __init__(self, train: TrainSettings) -> None:
        self._num_steps = train.num_steps
        self._ahead = {"validation": validation_steps(train), "probe": probe_steps(train)}
        self._seconds = {"validation": 0.0, "probe": 0.0}
        self._times = dict.fromkeys(self._seconds, 0)
        self._last_probe: int | None = None
        self._num_seen = 0
        self._steps: deque[float] = deque(maxlen=RECENT)

    def note(self, record: dict[str, Any]) -> None:
        """Count a step or an evaluation; a probe has several records, one for each thing it measures."""
        if record["event"] == "step":
            self._num_seen += 1
            if self._num_seen == SLOW_START + 1:  # what stood for the others until now
                self._steps.clear()
            self._steps.append(record["seconds"])
        elif record["event"] == "rollback":
            self._last_probe = None
        elif record["event"] == "validation":
            self._count("validation", record.get("evaluation_seconds", 0.0))
        elif "evaluation_seconds" in record:
            self._count("probe", record["evaluation_seconds"], is_another=record["step"] != self._last_probe)
            self._last_probe = record["step"]

    def _count(self, kind: str, seconds: float, is_another: bool = True) -> None:
        self._seconds[kind] += seconds
        self._times[kind] += is_another

    def after(self, step: int) -> float | None:
        """Return the seconds from `step` to the end; None as long as no step was seen."""
        if not self._steps:
            return None
        times = {kind: len(steps) - bisect_right(steps, step) for kind, steps in self._ahead.items()}
        evaluations = sum(times[kind] * self._seconds[kind] / max(1, self._times[kind]) for kind in times)
        return (self._num_steps - step) * fmean(self._steps) + evaluations
