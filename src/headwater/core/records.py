"""What happened in a run: append-only JSON lines, each an event with the attempt and the step it belongs to.

A process that starts or resumes a run is an attempt. A start, a resume or a rollback to step S makes void every earlier
line of a step beyond S; a start and a resume also what was measured at S after the save (it is measured again).
`RunLog` leaves those out, so that a resumed run reads like one that never stopped, and reads on while a process adds
lines; `read_records` reads a file once.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from headwater.core.json_lines import JsonLines
from headwater.core.numbers import number
from headwater.core.owners import require_owner

Record = dict[str, Any]
Object = dict[str, Any]
OWNER_CHECK_SECONDS = 5.0
CHUNK_BYTES = 1 << 24
"Read at once; a longer line is none that headwater wrote, and is skipped."
SEEN_BYTES = 64
"Of the end of what was read, by which a file is known again."
MAX_STEP = 2**53


class RunRecords:
    """The writer of one run's records.jsonl."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        attempts = [record.get("attempt", 0) for record in read_all(path)]
        self.attempt = max(attempts, default=0) + 1
        self._clock, self._checked_at = clock, -math.inf
        self._path, self._lines = path, JsonLines(path)

    def append(self, event: str, step: int, **fields: Any) -> Record:
        """Write one event and return it; `step` counts completed updates.

        Raises LockedError when another process has taken the run folder over. For steps that
        is asked every OWNER_CHECK_SECONDS, as it is a round trip to a cluster's file system; lines that a stale owner
        writes meanwhile are of an older attempt, which `read_records` skips.
        """
        now = self._clock()
        if event != "step" or not 0 <= now - self._checked_at < OWNER_CHECK_SECONDS:
            require_owner(self._path)
            self._checked_at = now
        record = {"event": event, "attempt": self.attempt, "step": step, **fields, "time": round(now, 3)}
        self._lines.append(strict(record))
        return record

    def sync(self) -> None:
        """Flush to the disk what was written; raises LockedError as `append` does."""
        require_owner(self._path)
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()


class UnwrittenRecords:
    """The records of a rank that keeps none: the first one writes for all."""

    attempt = 0

    def append(self, event: str, step: int, **fields: Any) -> Record:
        return {"event": event, "attempt": self.attempt, "step": step, **fields}

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def strict(value: Any) -> Any:
    """Return `value` with null for NaN and infinities, which JSON doesn't have."""
    if isinstance(value, dict):
        return {name: strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_all(path: Path, num_bytes: int | None = None) -> list[Record]:
    """Return every complete line, of the first `num_bytes` perhaps, in file order; a torn line is skipped."""
    if not path.exists():
        return []
    # not splitlines: a sample may hold U+2028, which JSON leaves as it is
    values = map(parsed, path.read_bytes()[:num_bytes].split(b"\n"))
    return [value for value in values if isinstance(value, dict)]


def seconds_of_saves(path: Path, num_saves: int = 5) -> list[float]:
    """Return how long the last saves of a run took, of all its processes."""
    saves = read_records(path, "checkpoint")[-num_saves:]
    return [save["seconds"] + save["background_seconds"] for save in saves]


def read_attempts(path: Path, num_bytes: int | None = None) -> list[Record]:
    """Return every event but those that an owner wrote after another process had taken the run over."""
    return _taken(_Attempts(path), read_all(path, num_bytes))


GOING_BACK = ("resume", "start", "rollback")
"Events after which later steps count no more. An attempt that starts at step 0, for want of a save, has no resume."
# events that are in the past when a checkpoint is written; every other event of that step comes after the save
_BEFORE_SAVE = ("start", "resume", "step", "checkpoint", "stopped")
# events that happen between steps, told apart by `rows_consumed` after them: a checkpoint may be from before or after
_BETWEEN_STEPS = ("skipped", "rollback")


def survives(record: Record, back: Record) -> bool:
    """Return whether a record still counts after the run went back to the state of which `back` tells."""
    if record["step"] != back["step"]:
        return record["step"] < back["step"]
    is_rollback = back["event"] == "rollback"
    if record["event"] in _BETWEEN_STEPS:
        consumed = amount(back, "first_row" if is_rollback else "rows_consumed") or 0
        return (amount(record, "rows_consumed") or 0) <= consumed
    # a new process measures again what was measured here; one that only went back doesn't
    return is_rollback or record["event"] in _BEFORE_SAVE


def read_records(path: Path, event: str | None = None, num_bytes: int | None = None) -> list[Record]:
    """Return the records that count, without those past a later resume point, or of an owner that was replaced."""
    return [each for each in counted(read_all(path, num_bytes)) if event in (None, each["event"])]


def counted(lines: Iterable[Record]) -> list[Record]:
    """Return those of a run's lines that count: none past a later resume point, or of an owner that was replaced."""
    return _taken(RunLog(Path()), lines)


def table(value: Any, *path: str) -> Object:
    """Return the object at `path` inside `value`, or {} where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def entries(value: Any, name: str) -> list[Object]:
    """Return the objects of the list under `name`."""
    members = value.get(name) if isinstance(value, dict) else None
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


def amount(value: Any, *path: str) -> float | None:
    """Return the finite number at `path` inside `value`, or None."""
    *parents, last = path
    return number(table(value, *parents).get(last))


def held_out_score(validation: Object, evaluation: Object) -> tuple[float | None, bool]:
    """Return bits per byte of held-out text, and whether of all of it: a validation counts until a run is evaluated."""
    score = amount(evaluation, "bits_per_byte", "all")
    if score is not None:
        return score, True
    return amount(validation, "bits_per_byte", "all"), bool(validation.get("is_of_all"))


def text_scored(validation: Object, text: str = "held-out text") -> str:
    """Return what a validation is of, in words: all of `text`, or a sample of it."""
    return f"{'all' if validation.get('is_of_all') else 'a sample of'} {text}"


def memory_fields(
    records: Sequence[Record], attempt: int, peak: int | None, device: str = "cpu", num_ranks: int = 1
) -> dict[str, Any]:
    """Return the most memory that the first rank held, and how it is known; `attempt`, the last, held `peak`.

    Every save says what its process held. None where one of them took steps and left no peak: the others' may be lower,
    for want of what it had done before it began to train. `records` are all, also of steps that were done again.
    """
    peaks: dict[int, int | None] = {r["attempt"]: None for r in records if r.get("event") in ("step", "skipped")}
    peaks |= {r["attempt"]: r.get("peak_memory_bytes") for r in records if r.get("event") == "checkpoint"}
    known = [found for found in (peaks | {attempt: peak}).values() if found is not None]
    if len(known) < len(peaks.keys() | {attempt}):
        return {"peak_memory_bytes": None, "peak_memory_how": "not known of every attempt that trained"}
    where = "" if device == "cpu" else ", of its GPU's memory"
    process = "the process" if num_ranks == 1 else f"the first of {num_ranks} ranks"
    how = f"peak of {process}" if len(known) == 1 else f"largest peak of {process} in {len(known)} attempts"
    return {"peak_memory_bytes": max(known), "peak_memory_how": how + where}


def error_fields(records: Sequence[Record]) -> dict[str, Any]:
    """Return the largest error of rounding to int8 that steps measured; nothing where none did."""
    errors = [record["gradient_error"] for record in records if "gradient_error" in record]
    return {"gradient_error": max(errors)} if errors else {}


class RunLog:
    """The records of one run that count, in their order, kept up with while its file grows: `poll` reads on.

    A resume or a rollback takes back what the abandoned attempt wrote past its checkpoint, as in `read_records`; a line
    counts once it has its end; a file that shrinks, is replaced or vanishes is read from its beginning again. A
    subclass may keep less than the records, by its own `forget`, `add` and `go_back`, or `begin` later in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.forget()

    def forget(self) -> None:
        """Be as before anything was read."""
        self.records: list[Record] = []
        self._newest_attempt, self._offset, self._inode, self._seen = 0, 0, -1, b""

    def add(self, record: Record) -> None:
        self.records.append(record)

    def go_back(self, back: Record) -> None:
        self.records = [old for old in self.records if survives(old, back)]

    def begin(self, file: BinaryIO, size: int) -> int:
        """Return the byte at which reading begins."""
        return 0

    def poll(self) -> None:
        """Read what was written since."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if self._offset and not self._is_continued(file, status):
                    self.forget()
                self._inode = status.st_ino
                self._offset = self._offset or self.begin(file, status.st_size)
                self._read_on(file)
        except OSError:  # not there yet, or not any more
            if self._offset:
                self.forget()

    def take(self, record: Any) -> None:
        """Take in the file's next value; one that is no event of a step, or of an owner that was replaced, is none."""
        if not isinstance(record, dict) or not isinstance(record.get("event"), str):
            return
        step = record.get("step")
        if not isinstance(step, int | float) or isinstance(step, bool) or not 0 <= step < MAX_STEP:
            return
        attempt = record.get("attempt")
        if isinstance(attempt, int):
            if attempt < self._newest_attempt:
                return
            self._newest_attempt = attempt
        if record["event"] in GOING_BACK:
            self.go_back(record)
        self.add(record)

    def _is_continued(self, file: BinaryIO, status: os.stat_result) -> bool:
        """Return whether this is the file that was read, and holds still, where reading ended, what was read there."""
        if status.st_ino != self._inode or status.st_size < self._offset:
            return False
        file.seek(self._offset - len(self._seen))
        return file.read(len(self._seen)) == self._seen

    def _read_on(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        while chunk := file.read(CHUNK_BYTES):
            # the last line may still be being written; one without an end within a chunk is skipped
            end = chunk.rfind(b"\n") + 1 or (len(chunk) if len(chunk) == CHUNK_BYTES else 0)
            if not end:
                return
            self._offset += end
            self._seen = chunk[max(0, end - SEEN_BYTES) : end]
            for line in chunk[:end].split(b"\n"):
                self.take(parsed(line))
            file.seek(self._offset)


class _Attempts(RunLog):
    """All events, also those that a resume took back."""

    def go_back(self, back: Record) -> None:
        pass


def _taken(log: RunLog, records: Iterable[Record]) -> list[Record]:
    for record in records:
        log.take(record)
    return log.records


def parsed(line: bytes) -> Any:
    """Return the value of a line; None of a torn one."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
