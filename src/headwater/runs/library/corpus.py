"""The text of a run: what was read, kept and dropped, and its documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from headwater.core.errors import ConfigError
from headwater.corpus.decide.columns import work_of
from headwater.corpus.decide.tune import Tuned, tune
from headwater.corpus.document import Document
from headwater.corpus.load import Hit, balance_of, list_sources, read_corpus_manifest, read_documents, trace
from headwater.corpus.sources.settings import CorpusSettings
from headwater.runfile.checking import validate
from headwater.runfile.given import Given
from headwater.runfile.paths import Folders
from headwater.runfile.run_config import RunConfig
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, folder_of, one_of
from headwater.runs.library.records import Frames, to_frame

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
        return tune(
            self.folder, with_limits(work_of(self.folder, also_failed=True).plan.settings, limits), column, count
        )

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
