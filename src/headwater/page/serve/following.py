"""The records of a run that count, kept up with while its file grows: read on from where reading ended.

A resume or a rollback takes back what the abandoned attempt wrote past its checkpoint, as `read_records` does; a file
that shrinks, is replaced or vanishes is read from its beginning again.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.records import GOING_BACK, GrowingFile, Record, amount, survives
from headwater.runs.curves import Points

# step and tokens exactly, the loss as it is written, the others as fine as a screen shows them
COLUMNS = {"step": "q", "tokens_seen": "d", "loss": "d", "tokens_per_second": "f", "lr": "f", "grad_norm": "f"}
MAX_STEPS_IN_MEMORY = 4_000_000
"Of all runs together, at 40 bytes each; those that nobody asked for lately are read again when somebody does."


class FollowedRun:
    """One run's steps as columns, and its other records by event."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self.columns: dict[str, array[Any]] = {name: array(code) for name, code in COLUMNS.items()}
        self.events: dict[str, list[Record]] = {}
        self._newest_attempt = 0
        self._file = GrowingFile()

    @property
    def num_steps(self) -> int:
        return len(self.columns["step"])

    def poll(self) -> None:
        """Read what was written since."""
        try:
            with open(self.path, "rb") as file:
                if self._file.offset and not self._file.is_continued(file):
                    self._forget()
                for record in self._file.records(file):
                    self._add(record)
        except OSError:  # not there yet, or not any more
            if self._file.offset:
                self._forget()

    def _add(self, record: Record) -> None:
        attempt = record.get("attempt")
        if isinstance(attempt, int):
            if attempt < self._newest_attempt:  # by an owner that was replaced
                return
            self._newest_attempt = attempt
        if record["event"] in GOING_BACK:
            self._go_back(record)
        if record["event"] == "step" and "tokens_seen" in record:
            for name, column in self.columns.items():
                value = amount(record, name)
                column.append(int(value or 0) if name == "step" else math.nan if value is None else value)
        else:
            self.events.setdefault(record["event"], []).append(record)

    def _go_back(self, back: Record) -> None:
        num_kept = bisect_right(self.columns["step"], amount(back, "step") or 0)
        self.events = {event: [each for each in found if survives(each, back)] for event, found in self.events.items()}
        for column in self.columns.values():
            del column[num_kept:]

    def curve(self, series: str, first: int = 0, last: int | None = None) -> Points:
        """Return (tokens seen, value) of the steps from the `first` on that have one."""
        xs, ys = (np.array(self.columns[name][first:last]) for name in ("tokens_seen", series))
        known = np.isfinite(xs) & np.isfinite(ys)
        return list(zip(xs[known].tolist(), ys[known].tolist(), strict=True))

    def between(self, low: float, high: float) -> tuple[int, int]:
        """Return the first and one past the last step within two amounts of tokens seen, and a neighbour of each."""
        xs = self.columns["tokens_seen"]
        return max(0, bisect_left(xs, low) - 1), min(len(xs), bisect_right(xs, high) + 1)

    def by_event(self) -> dict[str, list[Record]]:
        """Return the other records, and under `step` the last step of training; steps of rewards stay as they are."""
        steps, tokens = self.columns["step"], self.columns["tokens_seen"]
        last: list[Record] = [{"event": "step", "step": steps[-1], "tokens_seen": tokens[-1]}] if steps else []
        return self.events | ({"step": last} if last else {})


class FollowedRuns:
    """The runs that are on some page, by folder."""

    def __init__(self) -> None:
        self._runs: dict[Path, FollowedRun] = {}
        self._lock = threading.Lock()

    def of(self, run_dir: Path) -> FollowedRun:
        with self._lock:
            run = self._runs.pop(run_dir, None) or FollowedRun(run_dir / "records.jsonl")
            num_steps = sum(each.num_steps for each in self._runs.values())
            while self._runs and num_steps > MAX_STEPS_IN_MEMORY:
                oldest = next(iter(self._runs))
                num_steps -= self._runs.pop(oldest).num_steps
            self._runs[run_dir] = run  # the last one asked for is the last to go
        return run
