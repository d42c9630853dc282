"""Builds a corpus folder from settings: every document read, filtered, split, written and accounted for.

files.parquet                          what was read, with the digest of each file
manifest.json                          settings, digests of the inputs and of every shard, the balance sheet
train/SOURCE/000000-00000.jsonl.zst    documents to train on, in the order in which they were read
validation/SOURCE/000000-00000.jsonl.zst
dropped/SOURCE/000000-00000.jsonl.zst  an excerpt of everything dropped, with the reason
decisions/SOURCE/000000.parquet        what became of each document that was read to its end, and why

The work is cut into tasks (headwater.corpus.tasks), which an engine does (headwater.corpus.engine): the folder is the
same whichever does them, in how many processes, and however often it is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, new_folder
from headwater.core.numbers import size
from headwater.corpus.balance import (
    LIMIT_SUFFIXES,
    Amount,
    Balance,
    KeptBy,
    commonest_first,
    merge_,
    nothing,
    stage_of,
    sum_of,
)
from headwater.corpus.contents import FILES, Content, FileContents
from headwater.corpus.decide.columns import open_columns
from headwater.corpus.decide.decisions import Decisions
from headwater.corpus.decide.limits import rules_name
from headwater.corpus.engine.engine import Engine
from headwater.corpus.engine.local import engine_for
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Task
from headwater.corpus.findings import Notes, check_evaluation_sets, findings
from headwater.corpus.inputs import corpus_inputs, corpus_key, deciding
from headwater.corpus.load import remove_failed_build, write_corpus, write_failed_build
from headwater.corpus.pipeline import STEP_FAILED
from headwater.corpus.shards import FORMAT, FORMAT_VERSION
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.split import LEAST_HELD_OUT
from headwater.corpus.tasks.work import (
    COLUMNS,
    COPIED,
    GPU_COLUMNS,
    LINES,
    OWN,
    SHORTENED,
    TEXTS,
    VERIFY,
    WRITE,
    Work,
    begin_work,
)
from headwater.corpus.toml_tables import toml_table

MIN_FAILED = 10  # documents of a source on which steps fail: fewer never end a build
MAX_EXPECTED_LOSS = 0.9  # of a source's documents for one reason: more is said beside the summary

Say = Callable[[str], None]


def build_corpus(
    settings: CorpusSettings,
    out_dir: Path,
    say: Say,
) -> dict[str, Any]:
    """Build the corpus in `out_dir`, replacing what is there once all is done, and return its manifest.

    The same settings and inputs give the same bytes. What a build that was interrupted had done is not done again.
    Raises DataError when nothing is left to train on, or nothing to validate on, with the reasons, or when a part can't
    be done; StorageError when the disk refuses.
    """
    listed = corpus_inputs(settings)
    searched = check_evaluation_sets(settings, say)
    work = begin_work(out_dir, settings, listed, corpus_key(settings, listed))
    if not work.plan.parts:
        _require_text(settings, Balance(list(settings.sources)))
    with engine_for(settings.engine, work, len(work.plan.parts)) as engine:
        notes = _Build(work, engine, say, settings.engine.max_failed_fraction).do_all()
    notes = _merged(notes, work, TEXTS, "notes")
    balance = Balance(list(settings.sources))
    for stage in (TEXTS, WRITE):
        _merged(balance, work, stage, "balance")
    balance.check()
    contents = _contents_of(work)
    inputs = corpus_inputs(settings, contents)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": corpus_key(settings, inputs),
        **balance.as_dict(),
        "kept_by": _merged(KeptBy(), work, WRITE, "kept_by").as_dict(),
        **findings(settings, notes, balance, searched),
        "inputs": inputs,
        "plan": work.folder.name,
        "settings": deciding(settings),
    }
    try:
        _require_text(settings, balance)
    except DataError:
        write_failed_build(work, out_dir, manifest)
        work.remove_others()  # what was read stays: another limit may keep some
        raise
    for name in settings.sources:
        say(_summary(name, balance))
        for loss in _great_losses(name, settings, balance):
            say(loss)
    with new_folder(out_dir, replace=True) as folder:
        with DigestedFile(folder / FILES) as file:
            pq.write_table(contents.table(), file, compression="zstd", write_page_checksum=True)
        manifest = write_corpus(work, folder, manifest, [FILES])
    remove_failed_build(out_dir)
    work.remove_others()
    return manifest


class _Build:
    """The stages one after another; between two of them what is known by then decides what the next is asked."""

    def __init__(self, work: Work, engine: Engine, say: Say, max_failed: float) -> None:
        self._work, self._engine, self._say, self._max_failed = work, engine, say, max_failed

    def do_all(self) -> Notes:
        """Do all and return what was noted of decisions."""
        work = self._work
        parts = [part.number for part in work.plan.parts]
        self._do(LINES, [part.number for part in work.plan.parts if part.has_lines])
        self._do(TEXTS, parts)
        _require_few_failures(work, self._max_failed)
        self._do(COLUMNS, parts)
        self._do(GPU_COLUMNS, parts)
        with open_columns(work) as connection:
            decisions = Decisions(work, connection)
            decisions.limit()
            self._do(OWN, work.numbers_in_question(OWN))
            decisions.pair()
            self._do(VERIFY, work.numbers_in_question(VERIFY))
            decisions.keep()
            self._do(COPIED, work.numbers_in_question(COPIED))
            decisions.shorten()
            self._do(SHORTENED, work.numbers_in_question(SHORTENED))
            for source in decisions.split():
                self._say(
                    f"{source}: each document has a passage in common with another one, so that some of what is held "
                    "out may stand in the training text, which flatters its loss; add text that stands in one document "
                    "alone"
                )
            noted = Notes()
            noted.merge_(decisions.noted())
        self._do(WRITE, parts)
        return noted

    def _do(self, stage: str, numbers: list[int]) -> None:
        tasks = [Task(stage, number) for number in numbers]
        missing = self._work.missing(tasks)
        progress = Progress(self._work, stage, len(numbers), missing, self._say)
        self._engine.run(missing, progress)
        self._work.fetch_facts(tasks)


def _contents_of(work: Work) -> FileContents:
    """Return the digests that the tasks took of the files that they read."""
    numbers = range(len(work.plan.parts))
    return FileContents(Content(*each) for number in numbers for each in work.facts_of(TEXTS, number)["contents"])


Merging = TypeVar("Merging", Balance, Notes, KeptBy)


def _merged(total: Merging, work: Work, stage: str, name: str) -> Merging:
    """Return what the tasks of a stage noted under a name, added to `total`."""
    for part in work.plan.parts:
        total.merge_(work.facts_of(stage, part.number)[name])
    return total


def _require_few_failures(work: Work, max_fraction: float) -> None:
    """Raise DataError if steps failed on so many documents of a source that it is a fault, and not of a document."""
    balance = _merged(Balance(list(work.plan.settings.sources)), work, TEXTS, "balance")
    for name, source in balance.sources.items():
        failed, read = (each["documents"] for each in (source["dropped"].get(STEP_FAILED, nothing()), source["read"]))
        if failed >= MIN_FAILED and failed > max_fraction * read:
            notes = _merged(Notes(), work, TEXTS, "notes").of(STEP_FAILED).most_common(3)
            which = ", ".join(f"{note} {times:,}" for note, times in notes)
            raise DataError(
                f"source {name}: steps failed on {failed:,} of {read:,} documents ({which}), more than the share "
                f"corpus.engine.max_failed_fraction={max_fraction:g}; "
                "leave out the setting of a step that fails, or raise the limit: the same command then resumes"
            )


def _summary(name: str, balance: Balance) -> str:
    kept, read, dropped = (balance.sources[name][column] for column in ("kept", "read", "dropped"))
    reasons = ", ".join(_amount(*each) for each in commonest_first(dropped))
    return (
        f"{name}: kept {kept['documents']:,} of {read['documents']:,} document{'s' * (read['documents'] != 1)}, "
        f"{size(kept['bytes'])} of {size(read['bytes'])}"
        + (f"; dropped: {reasons}" if reasons else "")
        + _few_held_out(balance, name)
    )


def _few_held_out(balance: Balance, name: str) -> str:
    number, num_train = (balance.splits[split][name]["documents"] for split in ("validation", "train"))
    if not number:
        return "; too little text for a validation part"
    if num_train + number > balance.sources[name]["kept"]["documents"]:
        return "; only the end of one document is held out: its loss says little"
    held_out = "1 document is held out: its" if number == 1 else f"{number} documents are held out: their"
    return f"; only {held_out} loss says little" if number < LEAST_HELD_OUT else ""


def _amount(reason: str, amount: Amount) -> str:
    if amount["documents"]:
        return f"{reason} {amount['documents']:,}"
    return f"{reason} {amount['bytes']:,} bytes" if amount["bytes"] else reason


def _great_losses(name: str, settings: CorpusSettings, balance: Balance) -> Iterator[str]:
    """Yield which rules alone dropped nearly all documents of a source: such a setting may be a mistake."""
    source, rules = balance.sources[name], rules_name(settings.sources[name].kind)
    num_read = source["read"]["documents"]
    settings_of_reasons = toml_table("headwater.corpus", "reasons")["settings"]
    for reason, amount in source["dropped"].items():
        decides = "corpus.limits" if reason.endswith(LIMIT_SUFFIXES) else rules
        setting = settings_of_reasons.get(reason, decides if stage_of(reason) == "quality" else "")
        if setting and amount["documents"] > MAX_EXPECTED_LOSS * num_read:
            share = f"{name}: {amount['documents'] / num_read:.0%} of its documents were dropped as {reason}"
            yield f"{share}: {setting} decides that; `headwater corpus show RUN --dropped` shows some"


def _require_text(settings: CorpusSettings, balance: Balance) -> None:
    train, validation = (sum_of(balance.splits[split].values()) for split in ("train", "validation"))
    if train["documents"] == 0:
        found = "\n".join(f"  {_where(settings, name)}: {_summary(name, balance)}" for name in settings.sources)
        has_dropped = any(source["dropped"] for source in balance.sources.values())
        hint = "; `headwater corpus show RUN --dropped` shows examples" if has_dropped else ""
        raise DataError(f"the corpus is empty: no document was kept\n{found}\n{_advice(balance)}{hint}")
    if validation["documents"] == 0:
        raise DataError(
            f"the corpus is too small: {train['bytes']:,} bytes, in one document a source, leave nothing to validate "
            "on; add a second document or at least 1,000 bytes"
        )


def _advice(balance: Balance) -> str:
    """Return what to do about a corpus without a document: by the stage that dropped most of what was read."""
    dropped = dict[str, Amount]()
    for source in balance.sources.values():
        merge_(dropped, source["dropped"])
    if not dropped:
        return "no file was found there: name folders or files that hold text"
    reason, _ = commonest_first(dropped)[0]
    advice: dict[str, str] = toml_table("headwater.corpus", "reasons")["advice"]
    return advice.get(reason, advice[stage_of(reason)])


def _where(settings: CorpusSettings, name: str) -> str:
    source = settings.sources[name]
    return ", ".join(source.paths or [str(source.paths_file)])
