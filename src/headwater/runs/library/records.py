"""What happened in a run: every step, validation, sample, save and resume."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args

from headwater.core.errors import ConfigError, DataError
from headwater.core.records import Record, read_records
from headwater.runfile.damage import require_run_dir
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, folder_of, one_of

_Libraries = Literal["pandas", "polars"]
Frames = Annotated[_Libraries, one_of(*get_args(_Libraries))]


def to_frame(rows: list[Record], library: Frames | None = None) -> Any:
    """Return a DataFrame with a line a row; what a row has inside, such as {"loss": {"all": 3}}, is under loss.all.

    None takes pandas, or polars where that alone is installed. Raises ConfigError where the library isn't.
    """
    known = get_args(_Libraries) if library is None else (library,)
    name = next((name for name in known if find_spec(name) is not None), None)
    if name is None:
        raise ConfigError(f"a frame needs {' or '.join(known)}, not installed here; `pip install {known[0]}`")
    return import_module(name).json_normalize(rows, **({} if name == "pandas" else {"infer_schema_length": None}))


class Records:
    """The records of a run as they are now, without what a later resume or rollback undid.

    A record has `event`, `step` (completed updates), `attempt` and `time` (seconds since 1970), and what the event
    measured: a step its `loss` (nats per token), `tokens_per_second` and `lr`, a validation `bits_per_byte` by source.
    """

    @checked
    def __init__(self, run: arg.AnyRun) -> None:
        self.folder = folder_of(run)
        require_run_dir(self.folder)

    def __repr__(self) -> str:
        return f"Records({str(self.folder)!r})"

    @checked
    def rows(self, event: arg.Text | None = None) -> list[Record]:
        """Return the records of one event (step, validation, samples, …) or all of them, in their order."""
        return read_records(self.folder / "records.jsonl", event)

    @checked
    def frame(self, event: arg.Text = "step", library: Frames | None = None) -> Any:
        """Return the records of an event as a DataFrame, nested values under names such as loss.all.

        Raises DataError where the run has none of them, and ConfigError where neither pandas nor polars is installed.
        """
        rows = self.rows(event)
        if not rows:
            events = sorted({row["event"] for row in self.rows()})
            raise DataError(f"{self.folder} has no record of {event!r}; it has {', '.join(events) or 'none at all'}")
        return to_frame(rows, library)
