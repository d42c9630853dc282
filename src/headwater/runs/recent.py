"""What the end of a run's records says, kept up with while its file grows: a few numbers, and the last records.

Of a run that is finished and evaluated the score is that of evaluation.json, of all held-out text. Here is also how
long a run has yet to train.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from statistics import fmean, median
from typing import Any, BinaryIO

from headwater.core.files import read_json_or_none
from headwater.core.records import GOING_BACK, Object, Record, RunLog, amount, entries, held_out_score, parsed, table

USUAL_STEPS = 200
"The last ones, whose median is what a step takes."
PAUSED_STEPS = 1000
"The last ones, between which validations, probes and saves are counted: several, at the usual settings."


class TimeLeft:
    """An estimate by the steps of one process: what they take, and all that comes between two of them.

    Of steps the median counts: those in which kernels are compiled, or that something held up, say nothing of the
    others. Of what comes between the mean does: it comes seldom, and takes long.
    """

    def __init__(self) -> None:
        self._step_seconds: deque[float] = deque(maxlen=USUAL_STEPS)
        self._pause_seconds: deque[float] = deque(maxlen=PAUSED_STEPS)
        self._attempt: Any = None
        self._step_tokens = 0.0
        self._last_time: float | None = None

    def add(self, step: Record) -> None:
        """Take in the next record of a step; those of an earlier attempt count no more."""
        if step.get("attempt") != self._attempt:
            self._attempt, self._last_time = step.get("attempt"), None
            self._step_seconds.clear()
            self._pause_seconds.clear()
        seconds, now = amount(step, "seconds"), amount(step, "time")
        if seconds is not None:
            self._step_seconds.append(seconds)
            self._step_tokens = seconds * (amount(step, "tokens_per_second") or 0.0)
        if now is not None and self._last_time is not None:
            self._pause_seconds.append(max(0.0, now - self._last_time - (seconds or 0.0)))
        self._last_time = now

    @property
    def _usual(self) -> float:
        return median(self._step_seconds) if self._step_seconds else 0.0

    @property
    def _pause(self) -> float:
        return fmean(self._pause_seconds) if self._pause_seconds else 0.0

    @property
    def pause_fraction(self) -> float:
        """The part of the time that goes to what comes between steps: validations, probes, saves."""
        return self._pause / self._seconds if self._seconds else 0.0

    @property
    def _seconds(self) -> float | None:
        """What a step takes with what comes after it; None before anything is known."""
        if not self._step_seconds and not self._pause_seconds:
            return None
        return self._usual + self._pause

    def after(self, step: int, num_steps: int) -> float | None:
        """Return the seconds from a step to the last one; None before anything is known."""
        return None if self._seconds is None else max(0, num_steps - step) * self._seconds

    @property
    def tokens_per_second(self) -> float | None:
        """The rate that the time left goes by: that of the steps and of all that comes between them."""
        return self._step_tokens / self._seconds if self._seconds and self._step_tokens else None


TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 22
"Of a run's records: the last lines, and how far back those that come seldom are looked for."
SELDOM = ("validation", "samples")
FAR_BACK = tuple(f'"{event}"'.encode() for event in (*SELDOM, *GOING_BACK))
"Before the last lines only those that hold one of these are parsed."
MAX_RECORDS = 3000
"Kept at most, to know what is new; a resume reads the last lines again."
NO_FILE = (-1, -1)
MEAN_STEPS = 20
"The last steps of which the mean loss is shown."


class RecentRecords(RunLog):
    """The end of one run's records; nothing is read again but after a resume, or where the file isn't the same."""

    def __init__(self, path: Path) -> None:
        self._stamp = self._evaluation_stamp = NO_FILE
        self._evaluation: Object = {}
        super().__init__(path)
        self._sum_up()

    def begin(self, file: BinaryIO, size: int) -> int:
        """Begin with the last lines, and with one of each of SELDOM before them unless that is far back."""
        first, before = max(0, size - TAIL_BYTES), max(0, size - MAX_TAIL_BYTES)
        file.seek(first)
        tail = file.read(TAIL_BYTES)
        seldom, back = FAR_BACK[: len(SELDOM)], FAR_BACK[len(SELDOM) :]
        if first and (not all(mark in tail for mark in seldom) or any(mark in tail for mark in back)):
            file.seek(before)
            for line in file.read(first - before).split(b"\n"):
                if any(mark in line for mark in FAR_BACK):
                    self.take(parsed(line))
            self.records = [*{each["event"]: each for each in self.records if each["event"] in SELDOM}.values()]
        return first

    def poll(self) -> None:
        """Read what was written since, if the files have changed."""
        if (stamp := _stamp(self.path)) != self._stamp:
            before, num_known = self.records, len(self.records)
            super().poll()
            if self.records is not before and before:  # of what a resume leaves, more lies before what is kept
                self.forget()
                super().poll()
            if self.records is before and num_known:
                for record in self.records[num_known:]:
                    self._count(record)
            else:
                self._sum_up()
            if len(self.records) > MAX_RECORDS:
                self.records = self.records[-MAX_RECORDS // 2 :]
            self._stamp = stamp
        evaluation = self.path.with_name("evaluation.json")
        if (stamp := _stamp(evaluation)) != self._evaluation_stamp:
            self._evaluation, self._evaluation_stamp = table(read_json_or_none(evaluation)), stamp

    def _sum_up(self) -> None:
        self.last_event: str | None = None
        self.last_record_at: float | None = None
        self.step: int | None = None
        self.num_steps: int | None = None
        self.finished_step: int | None = None
        self.prompt: str | None = None
        self._validation: Record = {}
        self._losses: deque[float | None] = deque(maxlen=MEAN_STEPS)
        self._time_left = TimeLeft()
        for record in self.records:
            self._count(record)

    def _count(self, record: Record) -> None:
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


def _stamp(path: Path) -> tuple[int, int]:
    """Return what differs when a file has changed."""
    try:
        status = path.stat()
    except OSError:
        return NO_FILE
    return status.st_size, status.st_mtime_ns
