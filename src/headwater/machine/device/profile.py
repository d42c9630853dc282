"""What a few steps of a run do, as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing show."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from headwater.core.files import write_bytes


class StepProfile:
    """Profiles the steps from the first to the last of `steps`, and writes one file; None profiles nothing.

    A run that resumes between them is profiled from there. A trace that can't be written is a line to `say` and no
    error: a run is worth more. `rest` is called before it is written, which may take longer than a step.
    """

    def __init__(
        self, steps: list[int] | None, path: Path, say: Callable[[str], None], rest: Callable[[], None]
    ) -> None:
        self._steps, self._path, self._say, self._rest = steps, path, say, rest
        self._profile: Any = None
        self._label: Any = None

    def begin(self, step: int) -> None:
        """Call it before each step; the one before has ended."""
        if self._steps is None:
            return
        first, last = self._steps
        self._end_step()
        if step > last:
            self.close()
        elif step >= first and self._profile is None:
            activities = [ProfilerActivity.CPU]
            activities += [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()
        if self._profile is not None:
            self._label = record_function(f"step {step}")
            self._label.__enter__()

    def _end_step(self) -> None:
        if self._label is not None:
            self._label.__exit__(None, None, None)
        self._label = None

    def close(self) -> None:
        """Write what was profiled so far, if anything was; nothing is profiled afterwards."""
        self._end_step()
        ended, self._steps, self._profile = self._profile, None, None  # a profile that is exported twice crashes torch
        if ended is None:
            return
        self._rest()
        try:
            ended.stop()
            with tempfile.TemporaryDirectory() as folder:
                trace = Path(folder) / "trace.json"
                ended.export_chrome_trace(str(trace))
                write_bytes(self._path, trace.read_bytes())
        except Exception as error:  # of whatever kind, of torch or of the disk
            self._say(f"no trace of the profiled steps, {self._path} can't be written: {error}")
