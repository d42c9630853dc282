"""What the end of a run's records says, kept up with while its file grows: a few numbers, and the last records.

Of a run that is finished and evaluated the score is that of evaluation.json, of all held-out text.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from headwater.core.files import read_json_or_none
from headwater.core.records import GOING_BACK, Object, Record, RunLog, amount, entries, held_out_score, parsed, table
from headwater.runs.time_left import PAUSED_STEPS, TimeLeft

TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 22
"Of a run's records: the last lines, and how far back those that come seldom are looked for."
SELDOM = ("validation", "samples")
FAR_BACK = tuple(f'"{event}"'.encode() for event in (*SELDOM, *GOING_BACK))
"Before the last lines only those that hold one of these are parsed."
MAX_RECORDS = 3 * PAUSED_STEPS
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

    def forget(self) -> None:
        super().forget()
        self._went_back = False

    def go_back(self, back: Record) -> None:
        super().go_back(back)
        self._went_back = True

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
            is_first = not self._offset
            super().poll()
            if self._went_back and not is_first:  # more of what is left lies before the records that are kept
                self.forget()
                super().poll()
            self._went_back = False
            if len(self.records) > MAX_RECORDS:
                seldom = {each["event"]: each for each in self.records if each["event"] in SELDOM}
                last = self.records[-MAX_RECORDS // 2 :]
                self.records = [each for each in seldom.values() if each not in last] + last
            self._stamp = stamp
            self._sum_up()
        evaluation = self.path.with_name("evaluation.json")
        if (stamp := _stamp(evaluation)) != self._evaluation_stamp:
            self._evaluation, self._evaluation_stamp = table(read_json_or_none(evaluation)), stamp

    def _sum_up(self) -> None:
        last = {record["event"]: record for record in self.records}
        steps, self._time_left = [record for record in self.records if record["event"] == "step"], TimeLeft()
        for record in steps:
            self._time_left.add(record)
        losses = [loss for step in steps[-MEAN_STEPS:] if (loss := amount(step, "loss")) is not None]
        times = [time for record in self.records if (time := amount(record, "time")) is not None]
        planned = [int(planned) for record in self.records if (planned := amount(record, "num_steps"))]
        self._validation = last.get("validation", {})
        self.loss = sum(losses) / len(losses) if losses else None
        self.step = max((int(record["step"]) for record in self.records), default=None)
        self.num_steps = planned[0] if planned else None
        self.last_event = self.records[-1]["event"] if self.records else None
        self.last_record_at = max(times, default=None)
        self.finished_step = int(last["finish"]["step"]) if "finish" in last else None
        samples = entries(last.get("samples", {}), "samples")
        self.prompt = str(samples[0].get("prompt", "")) if samples else None

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
