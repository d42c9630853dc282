"""RUN/interventions.jsonl: every skipped step and every rollback, on disk before it has an effect.

What is written there is not decided again: a resume and a replay follow it, so that a run comes to the same bits
whatever stopped it, and also where a fault of the machine made a step bad that would be good the second time. So each
line has a digest, and a damaged one is an error; only an unfinished last line, which had no effect yet, is ignored.
Entries are found by global row number, which never falls; steps are done again after a rollback.

skip      a step's rows [first_row, last_row] left no trace in the weights
rollback  from `from_step` the run went back to its state at `to_step` and continued with row `next_row`: the rows
          [first_row, last_row] are not seen again
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from headwater.core.errors import TrainingError
from headwater.core.files import digest_json, move_folder, write_bytes
from headwater.core.json_lines import JsonLines
from headwater.core.owners import require_owner
from headwater.core.records import Record, strict

FILE = "interventions.jsonl"
MAX_LISTED = 50  # documents of one entry that are named; all are counted


class DocumentsOfRows(Protocol):
    """The part of a batch source that says which text a row holds."""

    def documents_of(self, row: int) -> list[tuple[str, str]]: ...


class Interventions:
    """The entries of one run, oldest first; those that are appended stay in memory."""

    def __init__(self, entries: list[Record], identity: dict[str, Any]) -> None:
        """`identity` is what a resume must find unchanged: entries of another run don't count for this one."""
        self.entries = entries
        self._identity = digest_json(identity)

    def append(self, kind: str, **fields: Any) -> Record:
        """Add an entry and return it."""
        entry = strict({"kind": kind, **fields, "identity": self._identity})
        self.entries.append(entry)
        return entry

    def skip_at(self, first_row: int) -> Record | None:
        """Return the entry of the step that begins with this row, where it was skipped."""
        return next((e for e in self.entries if e["kind"] == "skip" and e["first_row"] == first_row), None)

    @property
    def rollbacks(self) -> list[Record]:
        return [entry for entry in self.entries if entry["kind"] == "rollback"]

    def rollbacks_by_step(self) -> dict[int, Record]:
        """Return {step: rollback to it} of those that count: a later rollback to an earlier step undoes one."""
        found: dict[int, Record] = {}
        for entry in self.rollbacks:
            found = {step: old for step, old in found.items() if step < entry["to_step"]} | {entry["to_step"]: entry}
        return found

    def first_row_of(self, step: int, rows_per_step: int) -> int:
        """Return the first row of the step that makes a run's state that of `step`, after every rollback."""
        assert step > 0, step
        rows = {to_step: entry["next_row"] for to_step, entry in self.rollbacks_by_step().items() if to_step < step}
        since = max(rows, default=0)
        return int(rows.get(since, 0)) + (step - 1 - since) * rows_per_step

    def skipped_of_late(self, rows_consumed: int, num_rows: int) -> list[int]:
        """Return the first rows of the steps that were skipped among the last `num_rows` rows before `rows_consumed`.

        What was before a rollback counts no more.
        """
        since = max((entry["next_row"] for entry in self.rollbacks if entry["next_row"] <= rows_consumed), default=0)
        rows = range(max(since, rows_consumed - num_rows), rows_consumed)
        return [entry["first_row"] for entry in self.entries if entry["kind"] == "skip" and entry["first_row"] in rows]

    def pending_rollback(self, step: int, rows_consumed: int) -> Record | None:
        """Return the rollback to `step` whose rows a run in this state has yet to skip, or None."""
        found = self.rollbacks_by_step().get(step)
        return found if found is not None and rows_consumed < found["next_row"] else None

    def is_abandoned(self, step: int, rows_consumed: int) -> bool:
        """Return whether a state is one that the run went back from, so that it is not the run's any more."""
        return any(
            rows_consumed < entry["next_row"] and (step, rows_consumed) > (to_step, entry["first_row"])
            for to_step, entry in self.rollbacks_by_step().items()
        )


class WrittenInterventions(Interventions):
    """The entries of one run as its first rank keeps them: in a file that is made with the first of them."""

    def __init__(self, run_dir: Path, identity: dict[str, Any]) -> None:
        super().__init__(read_interventions(run_dir), identity)
        self._path = run_dir / FILE

    def put_aside_others(self, say: Callable[[str], None]) -> None:
        """Put a file of another run aside; call it where there is no checkpoint to resume from."""
        if not self.entries or self.entries[0].get("identity") == self._identity:
            return
        names = (self._path.with_name(f"old-{number}-{FILE}") for number in range(1, 1000))
        aside = next(name for name in names if not name.exists())
        say(f"{self._path} is of a run with other settings or text; renamed to {aside.name}")
        move_folder(self._path, aside)
        self.entries = []

    def append(self, kind: str, **fields: Any) -> Record:
        """Add an entry, flush it to the disk, and return it; raise LockedError where the run was taken over."""
        require_owner(self._path)
        entry = super().append(kind, **fields, time=round(time.time(), 3))
        lines = JsonLines(self._path)
        try:
            lines.append(entry | {"digest": digest_json(entry)})
            lines.sync()
        except BaseException:
            self.entries.pop()
            raise
        finally:
            lines.close()
        return entry


def read_interventions(run_dir: Path) -> list[Record]:
    """Return the entries of a run, oldest first; none where nothing happened.

    Raises TrainingError for a damaged line: without it the run would come to other weights, without a word.
    """
    path = run_dir / FILE
    if not path.exists():
        return []
    # not splitlines: a name may hold U+2028, which JSON leaves as it is
    *lines, _unfinished = path.read_bytes().split(b"\n")
    return [_entry(path, number, line) for number, line in enumerate(lines, 1)]


def take_out(run_dir: Path, row: int, identity: str, aside: Path) -> None:
    """Take the entries of other runs than `identity`, its digest, out where they are of `row` or later ones.

    A copy of all entries is left in the folder `aside`.
    """
    path = run_dir / FILE
    entries = read_interventions(run_dir)
    is_kept = [entry["last_row"] < row or entry["identity"] == identity for entry in entries]
    if all(is_kept):
        return
    data = path.read_bytes()
    write_bytes(aside / FILE, data)
    lines = data.split(b"\n")  # the last one is unfinished or empty
    write_bytes(path, b"".join(line + b"\n" for line, kept in zip(lines, is_kept, strict=False) if kept))


def _entry(path: Path, number: int, line: bytes) -> Record:
    try:
        entry = json.loads(line)
        digest = entry.pop("digest", None)
        if digest == digest_json(entry):
            return dict(entry)
        problem = "has no digest, as those of headwaters before 0.1" if digest is None else "differs from its digest"
    except (ValueError, RecursionError, AttributeError, TypeError):
        problem = "is no JSON object"
    raise TrainingError(
        f"{path} is damaged: line {number} {problem}. It decides which rows a run skips, so the run isn't "
        "resumed or replayed without it; put the file back from a copy, or train again under another name (name=…)"
    )


def documents_in(batches: DocumentsOfRows, rows: Iterable[int]) -> dict[str, Any]:
    """Return how many documents these rows hold, and [source, id] of the first of them."""
    found = dict.fromkeys(document for row in rows for document in batches.documents_of(row))
    return {"count": len(found), "listed": [list(document) for document in list(found)[:MAX_LISTED]]}


def name_documents(documents: dict[str, Any], num_named: int = 3) -> str:
    """Return a short account of an entry's documents: 12 documents (books: a tale, …)."""
    named = [f"{source}: {document}" for source, document in documents["listed"][:num_named]]
    more = ", …" if documents["count"] > len(named) else ""
    return f"{documents['count']} document{'' if documents['count'] == 1 else 's'} ({', '.join(named)}{more})"
