"""What the end of a run's records says, kept up with while its file grows: a few numbers, not the records.

Of a run that is finished and evaluated the score is that of evaluation.json, of all held-out text.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from headwater.core.files import read_json_or_none
from headwater.core.records import GOING_BACK, Object, Record, amount, entries, held_out_score, survives, table
from headwater.page.serve.growing import GrowingFile, parsed
from headwater.page.serve.time_left import TimeLeft

TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 22
"Of a run's records: the last lines, and how far back those that come seldom are looked for."
SELDOM = ("validation", "samples")
FAR_BACK = tuple(f'"{event}"'.encode() for event in (*SELDOM, *GOING_BACK))
"Before the last lines only those that hold one of these are parsed."
NO_FILE = (-1, -1)
MEAN_STEPS = 20
"The last steps of which the mean loss is shown."


class RecentRecords:
    """The end of one run's records; nothing is read again but after a resume, or where the file isn't the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.last_event: str | None = None
        self.last_record_at: float | None = None
        self.step: int | None = None
        self.num_steps: int | None = None
        self.finished_step: int | None = None
        self.prompt: str | None = None
        self._validation: Record = {}
        self._evaluation: Object = {}
        self._losses: deque[float | None] = deque(maxlen=MEAN_STEPS)
        self._time_left = TimeLeft()
        self._stamp = self._evaluation_stamp = NO_FILE
        self._file = GrowingFile()

    @property
    def loss(self) -> float | None:
        """The mean loss of the last steps."""
        losses = [loss for loss in self._losses if loss is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def tokens_per_second(self) -> float | None:
        return self._time_left.tokens_per_second

    @property
    def score(self) -> tuple[float | None, bool]:
        """The bits per byte of held-out text, and whether of all of it or of a sample."""
        return held_out_score(self._validation, {} if self.finished_step is None else self._evaluation)

    @property
    def version(self) -> str:
        """Another one whenever one of the files has changed."""
        return "-".join(map(str, self._stamp + self._evaluation_stamp))

    def seconds_left(self, num_steps: int | None) -> float | None:
        """Return the time up to the last of `num_steps`, None where it isn't known."""
        return None if self.step is None or num_steps is None else self._time_left.after(self.step, num_steps)

    def poll(self) -> None:
        """Read what was written since."""
        if (stamp := _stamp(self.path)) != self._stamp:
            try:
                with open(self.path, "rb") as file:
                    self._read(file)
                self._stamp = stamp
            except OSError:  # not there yet, or not any more
                self._forget()
        evaluation = self.path.with_name("evaluation.json")
        if (stamp := _stamp(evaluation)) != self._evaluation_stamp:
            self._evaluation, self._evaluation_stamp = table(read_json_or_none(evaluation)), stamp

    def _read(self, file: BinaryIO) -> None:
        offset, size = self._file.offset, os.fstat(file.fileno()).st_size
        if offset and size <= offset + MAX_TAIL_BYTES and self._file.is_continued(file):
            records = list(self._file.records(file))
            if not any(record["event"] in GOING_BACK for record in records):
                for record in records:
                    self._add(record)
                return
        self._forget()
        for record in self._records_at_end(file, size):
            self._add(record)

    def _records_at_end(self, file: BinaryIO, size: int) -> list[Record]:
        """Return the last records that count, one of each of SELDOM among them unless that is far back."""
        kept = _counting(self._file.records(file, max(0, size - TAIL_BYTES)))
        absent = {*SELDOM} - {record["event"] for record in kept}
        if size <= TAIL_BYTES or not absent:
            return kept
        first = max(0, size - MAX_TAIL_BYTES)
        file.seek(first)
        before = file.read(size - TAIL_BYTES - first).split(b"\n")
        older = _counting(filter(None, (parsed(line) for line in before if any(mark in line for mark in FAR_BACK))))
        for back in [record for record in kept if record["event"] in GOING_BACK]:
            older = [record for record in older if survives(record, back)]
        return [*{record["event"]: record for record in older if record["event"] in absent}.values(), *kept]

    def _add(self, record: Record) -> None:
        event, step, at = record["event"], int(record["step"]), amount(record, "time")
        self.last_event = event
        self.step = max(step, self.step or 0)
        self.num_steps = self.num_steps or int(amount(record, "num_steps") or 0) or None
        self.last_record_at = at if self.last_record_at is None else max(self.last_record_at, at or 0.0)
        if event == "step":
            self._losses.append(amount(record, "loss"))
            self._time_left.add(record)
        elif event == "validation":
            self._validation = record
        elif event == "samples" and (samples := entries(record, "samples")):
            self.prompt = str(samples[0].get("prompt", ""))
        elif event == "finish":
            self.finished_step = step


def _stamp(path: Path) -> tuple[int, int]:
    """Return what differs when a file has changed."""
    try:
        status = path.stat()
    except OSError:
        return NO_FILE
    return status.st_size, status.st_mtime_ns


def _counting(records: Iterable[Record]) -> list[Record]:
    kept: list[Record] = []
    for record in records:
        if record["event"] in GOING_BACK:
            kept = [old for old in kept if survives(old, record)]
        kept.append(record)
    return kept
