"""The text of a run, what was read, kept and dropped, and its documents; its records: what happened at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from headwater.core.errors import ConfigError, DataError
from headwater.core.records import Record, RunLog
from headwater.corpus.decide.columns import work_of
from headwater.corpus.decide.tune import Tuned, tune
from headwater.corpus.document import Document
from headwater.corpus.load import Hit, balance_of, list_sources, read_corpus_manifest, read_documents, trace
from headwater.corpus.sources.settings import CorpusSettings
from headwater.runfile.checking import validate
from headwater.runfile.damage import require_run_dir
from headwater.runfile.given import Given
from headwater.runfile.paths import Folders
from headwater.runfile.run_config import RunConfig
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, folder_of, one_of

Frames = Annotated[Literal["pandas", "polars"], one_of("pandas", "polars")]


def to_frame(rows: Sequence[Mapping[str, Any]], library: Frames | None = None) -> Any:
    """Return a DataFrame with a line a row; what a row has inside, such as {"loss": {"all": 3}}, is under loss.all.

    None takes pandas, or polars where that alone is installed. Raises ConfigError where the library isn't.
    """
    known = ("pandas", "polars") if library is None else (library,)
    name = next((name for name in known if find_spec(name) is not None), None)
    if name is None:
        raise ConfigError(f"a frame needs {' or '.join(known)}, not installed here; `pip install {known[0]}`")
    flat = [_flat(row) for row in rows]
    if name == "pandas":
        return import_module("pandas").DataFrame(flat)
    return import_module("polars").from_dicts(flat, infer_schema_length=None)


def _flat(row: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {path + name: value}
    return found


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
        log = RunLog(self.folder / "records.jsonl")
        log.poll()
        return [record for record in log.records if event in (None, record["event"])]

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


KEPT = "kept"
Split = Annotated[Literal["train", "validation"], one_of("train", "validation")]


@dataclass(frozen=True)
class DocumentCount:
    """What became of some of a source's text: `kept`, or the reason for which it was dropped. Bytes are as read."""

    source: str
    decision: str
    documents: int
    bytes: int


class Corpus:
    """A corpus: that of a run, or one by its folder. Raises DataError where it isn't built."""

    @checked
    def __init__(self, run_or_folder: arg.AnyRun) -> None:
        folder = folder_of(run_or_folder)
        self.folder = folder if (folder / "manifest.json").is_file() else Folders(folder).corpus
        read_corpus_manifest(self.folder)

    def __repr__(self) -> str:
        return f"Corpus({str(self.folder)!r})"

    @property
    def sources(self) -> list[str]:
        """The names of the sources, in the order in which they were read."""
        return list_sources(self.folder)

    @checked
    def documents(self, source: arg.Text | None = None, split: Split = "train") -> Iterator[Document]:
        """Yield the documents of a source, or of all, in the order of reading; `split` is "train" or "validation"."""
        for name in self.sources if source is None else [source]:
            yield from read_documents(self.folder, split, name)

    def counts(self) -> list[DocumentCount]:
        """Return for each source what was kept and what was dropped for each reason; together it is what was read."""
        found = []
        for source, sheet in balance_of(self.folder)["sources"].items():
            for decision, amount in {KEPT: sheet["kept"], **sheet["dropped"]}.items():
                found.append(DocumentCount(source, decision, amount["documents"], amount["bytes"]))
        return found

    @checked
    def frame(self, library: Frames | None = None) -> Any:
        """Return `counts` as a DataFrame of pandas or polars."""
        return to_frame([vars(count) for count in self.counts()], library)

    @checked
    def tune(self, limits: arg.Overrides = (), column: arg.Text | None = None, count: arg.Count = 3) -> Tuned:
        """Return what other limits would keep, by columns alone: `tune(["corpus.rules.web.min_words=80"])`.

        With a column its histogram; `count` texts as examples of each answer. Nothing is built or written. Raises
        ConfigError for settings that aren't limits, DataError where the work of the corpus is gone.
        """
        return tune(self.folder, with_limits(work_of(self.folder).plan.settings, limits), column, count)

    @checked
    def trace(self, text: arg.Text, ignore_case: arg.Switch = False) -> Iterator[Hit]:
        """Yield the documents of both splits that hold a text, exactly but for white space."""
        return trace(self.folder, text, ignore_case)


def with_limits(settings: CorpusSettings, overrides: arg.Overrides) -> CorpusSettings:
    """Return the settings of a corpus with overrides, `corpus.limits.web.words.min=80` each."""
    given = Given({"corpus": settings.model_dump(mode="json")})
    for override in overrides:
        if isinstance(override, str) and not override.startswith("corpus."):
            raise ConfigError(f"{override!r} is no setting of the corpus; write corpus.rules.KIND.NAME=VALUE")
        given = given.with_override(override)
    return validate(CorpusSettings, Given(given.get("corpus"), given.origins))


def shares_by_rule(config: RunConfig) -> dict[str, Any]:
    """Return {"rows": …, "mixtures": {name: {source: share, epochs}}}, with the reason where a rule can't be."""
    from headwater.plan.text_size import planned, train_rows
    from headwater.tokens.batches.mixture import USUAL_EPOCHS

    rows, num_rows, mixture = train_rows(config), config.num_rows, config.mixture
    by_size = mixture.model_copy(update={"weights": {}, "stages": [], "rule": "size"})
    found: dict[str, Any] = {}
    for name, each in {
        "this run": mixture,
        "size": by_size,
        f"temperature {mixture.temperature:g}": by_size.model_copy(update={"rule": "temperature"}),
        f"unimax {mixture.max_epochs or USUAL_EPOCHS:g}": by_size.model_copy(update={"rule": "unimax"}),
    }.items():
        try:
            plan = planned(config, rows, each)
        except ConfigError as error:
            found[name] = {"refused": str(error)}
            continue
        shares, epochs = plan.shares(num_rows), plan.epochs(num_rows)
        sources = {source: {"share": shares[source], "epochs": epochs[source]} for source in sorted(rows)}
        found[name] = {"sources": sources}
    return {"rows": rows, "mixtures": found}
