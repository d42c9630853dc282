"""RUN/interventions.jsonl: every step that wasn't taken and every way back, on disk before it has an effect.

What is written there is not decided again: a resume and a replay follow it, so that a run comes to the same bits
whatever stopped it, and also where a fault of the machine made a step bad that would be good the second time. Entries
are found by global row number, which never falls; steps are done again after a way back. No torch.

skip      a step's rows [first_row, last_row] were gone through and left no trace in the weights
rollback  from `from_step` the run went back to what it was at `to_step`, and on with row `next_row`: the rows
          [first_row, last_row] are not seen again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from headwater.files import digest_json, move_folder
from headwater.json_lines import JsonLines
from headwater.records import Record, no_owner, read_all, strict

FILE = "interventions.jsonl"
MAX_LISTED = 50  # documents of one entry that are named; all are counted


class DocumentsOfRows(Protocol):
    """The part of a batch source that says which text a row holds."""

    def documents_of(self, row: int) -> list[tuple[str, str]]: ...


class Interventions:
    """The entries of one run, read and added to; the file comes to be with the first."""

    def __init__(self, run_dir: Path, identity: dict[str, Any], require_owner: Callable[[], None] = no_owner) -> None:
        """`require_owner` raises LockedError once another process has taken the run over."""
        self._path = run_dir / FILE
        self._identity = digest_json(identity)
        self._require_owner = require_owner
        self.entries = read_interventions(run_dir)

    def begin_anew(self, say: Callable[[str], None]) -> None:
        """Put entries aside that another run left here; call it where there is no checkpoint to go on from."""
        if not self.entries or self.entries[0].get("identity") == self._identity:
            return
        names = (self._path.with_name(f"old-{number}-{FILE}") for number in range(1, 1000))
        aside = next(name for name in names if not name.exists())
        say(f"{self._path} is of a run with other settings or text; put aside as {aside.name}")
        move_folder(self._path, aside)
        self.entries = []

    def append(self, kind: str, **fields: Any) -> Record:
        """Write an entry, flush it to the disk, and return it."""
        self._require_owner()
        entry = strict({"kind": kind, **fields, "identity": self._identity, "time": round(time.time(), 3)})
        lines = JsonLines(self._path)
        try:
            lines.append(entry)
            lines.sync()
        finally:
            lines.close()
        self.entries.append(entry)
        return entry

    def skip_at(self, first_row: int) -> Record | None:
        """Return the entry of the step that begins with this row, where it was not taken."""
        return next((e for e in self.entries if e["kind"] == "skip" and e["first_row"] == first_row), None)

    @property
    def rollbacks(self) -> list[Record]:
        return [entry for entry in self.entries if entry["kind"] == "rollback"]

    def ways_back(self) -> dict[int, Record]:
        """Return {step: rollback to it} of those that led to the run as it is: a later one to before it undoes one."""
        ways: dict[int, Record] = {}
        for entry in self.rollbacks:
            ways = {step: way for step, way in ways.items() if step < entry["to_step"]} | {entry["to_step"]: entry}
        return ways

    def first_row_of(self, step: int, rows_per_step: int) -> int:
        """Return the first row of the step that makes a run's state that of `step`, after every way back."""
        assert step > 0, step
        ways = {to_step: way["next_row"] for to_step, way in self.ways_back().items() if to_step < step}
        since = max(ways, default=0)
        return int(ways.get(since, 0)) + (step - 1 - since) * rows_per_step

    def way_on(self, step: int, rows_consumed: int) -> Record | None:
        """Return the rollback to `step` that a run in this state still has before it, or None."""
        way = self.ways_back().get(step)
        return way if way is not None and rows_consumed < way["next_row"] else None

    def is_left_behind(self, step: int, rows_consumed: int) -> bool:
        """Return whether a state is one that the run went back from, so that it is not the run's any more."""
        return any(
            rows_consumed < way["next_row"] and (step, rows_consumed) > (at, way["first_row"])
            for at, way in self.ways_back().items()
        )


class FollowedInterventions(Interventions):
    """Those of a rank that isn't the first: it comes to the same decisions, and the first one writes them down."""

    def __init__(self, entries: list[Record], identity: dict[str, Any]) -> None:
        """Begin with the `entries` that the first rank has read."""
        self._identity = digest_json(identity)
        self.entries = entries

    def append(self, kind: str, **fields: Any) -> Record:
        entry = strict({"kind": kind, **fields, "identity": self._identity})
        self.entries.append(entry)
        return entry


def read_interventions(run_dir: Path) -> list[Record]:
    """Return the entries of a run, oldest first; none where nothing happened."""
    return [entry for entry in read_all(run_dir / FILE) if entry.get("kind") in ("skip", "rollback")]


def documents_in(batches: DocumentsOfRows, rows: Iterable[int]) -> dict[str, Any]:
    """Return how many documents these rows hold, and [source, id] of the first of them."""
    found = dict.fromkeys(document for row in rows for document in batches.documents_of(row))
    return {"count": len(found), "listed": [list(document) for document in list(found)[:MAX_LISTED]]}


def told(documents: dict[str, Any], num_named: int = 3) -> str:
    """Return a short account of an entry's documents: 12 documents (books: a tale, …)."""
    named = [f"{source}: {document}" for source, document in documents["listed"][:num_named]]
    more = ", …" if documents["count"] > len(named) else ""
    return f"{documents['count']} document{'' if documents['count'] == 1 else 's'} ({', '.join(named)}{more})"
