"""Builds a corpus folder from settings: every document read, filtered, split, written and accounted for.

manifest.json                          settings, digests of the inputs and of every shard, the balance sheet
train/SOURCE/000000-00000.jsonl.zst    documents to train on, in the order in which they were read
validation/SOURCE/000000-00000.jsonl.zst
dropped/SOURCE/000000-00000.jsonl.zst  an excerpt of everything dropped, with the reason

The work is cut into tasks (headwater.corpus.tasks), which an engine does (headwater.corpus.engine): the folder is the
same whichever does them, in how many processes, and however often it is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from headwater.core.errors import DataError
from headwater.core.files import digest_json, new_folder, no_check, write_json
from headwater.core.numbers import size
from headwater.core.task_output import end_work
from headwater.corpus.balance import Amount, Balance, KeptBy, commonest_first, merge_, nothing, stage_of, sum_of
from headwater.corpus.engine.engine import Engine
from headwater.corpus.engine.local import engine_for
from headwater.corpus.engine.progress import Progress
from headwater.corpus.findings import Notes, check_evaluation_sets, findings
from headwater.corpus.inputs import corpus_inputs, corpus_key, deciding
from headwater.corpus.load import DROPPED, discard_work, move_shards, write_failed_build
from headwater.corpus.pipeline import STEP_FAILED
from headwater.corpus.quality.filter import rules_name
from headwater.corpus.samples.fetch.fetched import NOT_FETCHED, say_what_is_missing
from headwater.corpus.shards import FORMAT, FORMAT_VERSION
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.split import LEAST_HELD_OUT
from headwater.corpus.tasks.decisions import write_decisions
from headwater.corpus.tasks.exact import num_exact_tasks
from headwater.corpus.tasks.merge import MergePlan
from headwater.corpus.tasks.near import near_tasks
from headwater.corpus.tasks.pages import PAGES
from headwater.corpus.tasks.repeats import COMMON_LINES, REPEATS, SHARED, RepeatSearch, count_pages, num_tasks_of
from headwater.corpus.tasks.results import Results, list_results, mark_found, merging, parts_found
from headwater.corpus.tasks.runs import MERGE_KEYS, SortedRuns
from headwater.corpus.tasks.segments import LINES, Segments, number_segments
from headwater.corpus.tasks.splits import decide_splits, sources_of_shared_text
from headwater.corpus.tasks.work import Task, Work, begin_work
from headwater.corpus.toml_tables import toml_table

MIN_FAILED = 10  # documents of a source on which steps fail: fewer never end a build
MAX_EXPECTED_LOSS = 0.9  # of a source's documents for one reason: more is said beside the summary

Say = Callable[[str], None]


def build_corpus(
    settings: CorpusSettings,
    out_dir: Path,
    say: Say,
    before_commit: Callable[[], None] = no_check,
    inputs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Build the corpus in `out_dir`, replacing what is there once all is done, and return its manifest.

    `before_commit` may still raise when all is written and nothing replaced.
    The same settings and inputs give the same bytes. What a build that was interrupted had done is not done again.
    `inputs` are the digests that `corpus_inputs` returned, where the caller has them. Raises DataError when nothing is
    left to train on, or nothing to validate on, with the reasons, or when a part can't be done; StorageError when the
    disk refuses.
    """
    inputs = corpus_inputs(settings) if inputs is None else inputs
    searched = check_evaluation_sets(settings, say)
    say_what_is_missing(settings, say)
    key = corpus_key(settings, inputs)
    work = Work(begin_work(out_dir, settings, key))
    with engine_for(settings.engine, work) as engine:
        _Build(work, engine, say, settings.engine.max_failed_fraction).do_all()
    balance = Balance(list(settings.sources))
    for stage in ("filter", "write"):
        _merged(balance, work, stage, "balance")
    balance.check()
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": key,
        **balance.as_dict(),
        "kept_by": _merged(KeptBy(), work, "write", "kept_by").as_dict(),
        **findings(settings, _merged(Notes(), work, "filter", "notes"), balance, searched),
        "inputs": inputs,
        "settings": deciding(settings),
    }
    try:
        _require_text(settings, balance)
    except DataError:
        write_failed_build(work, out_dir, manifest, before_commit)
        end_work(out_dir)  # doing it again would end alike
        raise
    for name in settings.sources:
        say(_summary(name, balance))
        for loss in _great_losses(name, settings, balance):
            say(loss)
    with new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        shards = move_shards(work, folder)
        kept = {name: digest for name, digest in shards.items() if not name.startswith(DROPPED)}
        manifest |= {"digest": digest_json(kept), "shards": shards}
        write_json(folder / "manifest.json", manifest)
    discard_work(out_dir)
    return manifest


class _Build:
    """The stages one after another; between two of them what the tasks found is put together."""

    def __init__(self, work: Work, engine: Engine, say: Say, max_failed: float) -> None:
        self._max_failed = max_failed
        self._work = work
        self._engine = engine
        self._say = say

    def do_all(self) -> None:
        work, dedup = self._work, self._work.plan.settings.dedup
        parts = [part.number for part in work.plan.parts]
        self._do("filter", parts)
        _require_few_failures(work, self._max_failed)
        number_segments(work)
        segments = Segments(work)
        self._merge(MERGE_KEYS, SortedRuns(work, segments).plan)
        self._search("exact", segments, num_exact_tasks(segments) if dedup.exact else 0)
        self._search_repeats(COMMON_LINES, segments, is_needed=dedup.near)
        self._collect(PAGES, parts_found(work, segments, COMMON_LINES.stage))
        self._search("near", segments, len(near_tasks(segments, dedup.num_bands)) if dedup.near else 0)
        doubtful = parts_found(work, segments, "near")
        self._do("verify", doubtful)
        write_decisions(work, segments, doubtful)
        self._search_repeats(REPEATS, segments)
        self._search_repeats(SHARED, segments)
        decide_splits(work, segments)
        for source in sources_of_shared_text(work):
            self._say(
                f"{source}: each document has a passage in common with another one, so that some of what is held out "
                "may stand in the training text, which flatters its loss; add text that stands in one document alone"
            )
        self._do("write", parts)

    def _search_repeats(self, search: RepeatSearch, segments: Segments, is_needed: bool = True) -> None:
        num_tasks = num_tasks_of(segments.num_keys(search.table)) if is_needed else 0
        if num_tasks and search.table == LINES:
            count_pages(self._work, segments, search)
        self._search(search.stage, segments, num_tasks)

    def _search(self, stage: str, segments: Segments, num_tasks: int) -> None:
        """Do a stage that finds something about documents, merge it and write about which."""
        self._collect(stage, range(num_tasks))
        mark_found(self._work, stage, segments.num_documents)

    def _collect(self, stage: str, numbers: list[int] | range) -> None:
        """Do a stage whose tasks write results, and merge these."""
        self._do(stage, numbers)
        list_results(self._work, stage, numbers)
        self._merge(merging(stage), Results(self._work, stage).plan)

    def _merge(self, stage: str, plan: MergePlan) -> None:
        for level in range(1, plan.num_levels + 1):
            self._do(stage, plan.tasks(level))

    def _do(self, stage: str, numbers: list[int] | range) -> None:
        missing = [task for number in numbers if not self._work.is_done(task := Task(stage, number))]
        progress = Progress(self._work, stage, len(numbers), missing, self._say)
        self._engine.run(missing, progress)


Merging = TypeVar("Merging", Balance, Notes, KeptBy)


def _merged(total: Merging, work: Work, stage: str, name: str) -> Merging:
    """Return what the tasks of a stage noted under a name, added to `total`."""
    for part in work.plan.parts:
        total.merge_(work.facts_of(stage, part.number)[name])
    return total


def _require_few_failures(work: Work, max_fraction: float) -> None:
    """Raise DataError if steps failed on so many documents of a source that it is a fault, and not of a document."""
    balance = _merged(Balance(list(work.plan.settings.sources)), work, "filter", "balance")
    for name, source in balance.sources.items():
        failed, read = (each["documents"] for each in (source["dropped"].get(STEP_FAILED, nothing()), source["read"]))
        if failed >= MIN_FAILED and failed > max_fraction * read:
            notes = _merged(Notes(), work, "filter", "notes").of(STEP_FAILED).most_common(3)
            which = ", ".join(f"{note} {times:,}" for note, times in notes)
            raise DataError(
                f"source {name}: steps failed on {failed:,} of {read:,} documents ({which}), more than the share "
                f"corpus.engine.max_failed_fraction={max_fraction:g}; "
                "leave out the setting of a step that fails, or raise the limit: the same command then goes on"
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
        setting = settings_of_reasons.get(reason, rules if stage_of(reason) == "quality" else "")
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
    if NOT_FETCHED in dropped and sum_of(dropped.values())["documents"] == 0:
        return "packages are missing: `headwater corpus fetch RUN` says which and why"
    if not dropped:
        return "no file was found there: name folders or files that hold text"
    reason, _ = commonest_first(dropped)[0]
    advice: dict[str, str] = toml_table("headwater.corpus", "reasons")["advice"]
    return advice.get(reason, advice[stage_of(reason)])


def _where(settings: CorpusSettings, name: str) -> str:
    source = settings.sources[name]
    return ", ".join(source.paths or source.fetched or [str(source.paths_file or source.package or source.builtin)])
