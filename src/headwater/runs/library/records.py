"""What happened in a run: every step, validation, sample, save and resume."""

from __future__ import annotations

from typing import Any

from headwater.core.errors import DataError
from headwater.core.records import Record, RunLog
from headwater.runfile.damage import require_run_dir
from headwater.runs.library.checked import AnyRun, Text, checked, folder_of
from headwater.runs.library.frames import Frames, to_frame


class Records:
    """The records of a run as they are now, without what a later resume or rollback undid.

    A record has `event`, `step` (completed updates), `attempt` and `time` (seconds since 1970), and what the event
    measured: a step its `loss` (nats per token), `tokens_per_second` and `lr`, a validation `bits_per_byte` by source.
    """

    @checked
    def __init__(self, run: AnyRun) -> None:
        self.folder = folder_of(run)
        require_run_dir(self.folder)

    def __repr__(self) -> str:
        return f"Records({str(self.folder)!r})"

    @checked
    def rows(self, event: Text | None = None) -> list[Record]:
        """Return the records of one event (step, validation, samples, …) or all of them, in their order."""
        log = RunLog(self.folder / "records.jsonl")
        log.poll()
        return [record for record in log.records if event in (None, record["event"])]

    @checked
    def frame(self, event: Text = "step", library: Frames | None = None) -> Any:
        """Return the records of an event as a DataFrame, nested values under names such as loss.all.

        Raises DataError where the run has none of them, and ConfigError where neither pandas nor polars is installed.
        """
        rows = self.rows(event)
        if not rows:
            events = sorted({row["event"] for row in self.rows()})
            raise DataError(f"{self.folder} has no record of {event!r}; it has {', '.join(events) or 'none at all'}")
        return to_frame(rows, library)
