"""The stages of a run, in order; each is done only when its settings or inputs changed since it was last done.

A data stage's folder has a manifest with the key of what it was made from: settings and digests of its inputs. Stages
after training have their keys in RUN/stages.json, beside the seconds of all.

The text of a run comes first: its rows in their order, its held-out text and the data card. No torch.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headwater.core.errors import CheckpointError, ConfigError, DataError, HeadwaterError, StoreError
from headwater.core.files import (
    read_json_or_none,
    read_manifest_or_none,
    remove_folder,
    remove_leftovers,
    require_writable,
    write_json,
)
from headwater.core.manifests import is_unmade
from headwater.core.owners import require_owner
from headwater.core.records import table
from headwater.core.task_output import work_folder
from headwater.corpus.contents import FileContents
from headwater.corpus.inputs import changed_inputs, corpus_inputs, corpus_key
from headwater.corpus.load import balance_of, remove_failed_build
from headwater.corpus.samples.files import unwritten, with_files, write_files
from headwater.corpus.sources.settings import REPLAYED, CorpusSettings
from headwater.export.base.facts import copied_key
from headwater.export.data_card import data_card
from headwater.plan.text_size import shares_of_replay, synthetic_sources
from headwater.runfile.checking import Reason
from headwater.runfile.init import base_of, kept_base
from headwater.runfile.paths import Folders, RunFolder, Say, stage_digest, write_kept
from headwater.runfile.run_config import RunConfig, config_of_run, config_record, train_plan
from headwater.tokens.batches.mixture import MixturePlan, make_plan
from headwater.tokens.batches.pack import PackedSource, targets_of
from headwater.tokens.batches.rows import open_packed
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.format import REBUILD, tokens_key
from headwater.tokens.tokenizer.train import tokenizer_key
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.resume import is_lengthened, is_trained, newest_state, require_settings, resume_longer

if TYPE_CHECKING:
    from headwater.tokens.batches.where import RunRows
    from headwater.tokens.build import Replayed


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say.

    A store that isn't the one that was verified is read through and verified. Raises StoreError for a store that is
    damaged, or where none is built yet.
    """
    folders = config.folders
    if is_unmade(folders.tokens):
        raise StoreError(f"{folders.tokens} is not built yet; `headwater run RUN` builds it")
    sources = open_packed(folders.tokens, folders.rows, "train", config.model.seq_len)
    if not sources:
        raise DataError(f"{folders.tokens} holds no training text; see `headwater corpus show RUN`")
    rows, targets = {name: source.num_rows for name, source in sources.items()}, targets_of(sources)
    replayed = shares_of_replay(config, rows)

    def plan_for(num_rows: int) -> MixturePlan:
        return make_plan(rows, config.mixture, num_rows, targets, replayed)

    return BatchSource(sources, plan_for(config.num_rows), config.model.seq_len, config.seed, plan_for)


def replayed_text(config: RunConfig) -> Replayed | None:
    """Return the tokens of the run that this one replays, and how it read them; None without [replay].

    Raises ConfigError where that run has none.
    """
    if config.replay is None:
        return None
    run, names = Path(config.replay.run), training_of_run(Path(config.replay.run))
    if names is None:
        raise ConfigError(f"replay.run={run} is no run whose text is prepared; `headwater run` prepares it")
    from headwater.tokens.build import Replayed

    weights = {REPLAYED + name: facts["weight"] for name, facts in names.items()}
    return Replayed(
        Folders(run).tokens, weights, [REPLAYED + name for name in sorted(synthetic_sources(config_of_run(run)))]
    )


def tokens_key_of(config: RunConfig, here: RunFolder | None = None) -> str:
    """Return the key of a run's tokens. A run with a checkpoint never asks the run that it replays again."""
    here = here or RunFolder(config.run_dir)
    replayed = ""
    if config.replay is not None:
        kept = here.manifest(here.tokens).get("replayed", {}).get("digest")
        theirs = stage_digest(Folders(Path(config.replay.run)).tokens)
        replayed = kept if kept is not None and list_checkpoints(here.run) else theirs
    return tokens_key(here.digest(here.corpus), here.digest(here.tokenizer), replayed)


def open_held_out(config: RunConfig) -> dict[str, PackedSource]:
    """Return the packed validation split of each source that has one."""
    folders = config.folders
    return open_packed(folders.tokens, folders.rows, "validation", config.model.seq_len)


def rows_of(config: RunConfig) -> RunRows:
    """Return the rows of a run, whether it has been trained or not."""
    from headwater.tokens.batches.where import RunRows  # finds documents, too
    from headwater.tokens.skipped_rows import Interventions, read_interventions

    log, num_steps = Interventions(read_interventions(config.run_dir), {}), config.train.num_steps
    corpus = config.folders.corpus
    return RunRows(open_batches(config), corpus, log, num_steps, config.num_rows // num_steps)


# ---- what became of the text


def training_of_run(run_dir: Path) -> dict[str, dict[str, float]] | None:
    """Return what a run will see of each source, as its batches have it; None where its text isn't tokenized."""
    try:
        config = config_of_run(run_dir)
    except HeadwaterError:
        return None  # training says what is wrong
    return _training(config, RunFolder(run_dir))


def _training(config: RunConfig, here: RunFolder) -> dict[str, dict[str, float]] | None:
    try:
        if here.manifest(here.tokens).get("key") != tokens_key_of(config, here):
            return None  # of another text, or none
        return open_batches(config).shares(config.num_rows)
    except HeadwaterError:
        return None  # training says what is wrong


def data_card_of_run(config: RunConfig, here: RunFolder | None = None) -> dict[str, Any] | None:
    """Return the data card of a run, that of the run before it where it was aligned; None where no corpus is there."""
    here = here or RunFolder(config.run_dir)
    try:
        balance = balance_of(here.corpus, here.manifest(here.corpus))
    except DataError:
        return read_json_or_none(here.data_card)
    inputs = here.manifest(here.corpus).get("inputs", {})
    stages = {folder.name: here.digest(folder) for folder in (here.corpus, here.tokenizer, here.tokens)}
    digests = stages | {f"input {name}": digest for name, digest in inputs.items()}
    if (replayed := here.manifest(here.tokens).get("replayed")) is not None:
        digests["replayed tokens"] = replayed["digest"]
    training = _training(config, here) or {}
    card = data_card(config.name, config.corpus, config.mixture, balance, training, digests)
    base = kept_base(config.base, here)
    return card | {"started_from": [] if base is None else [asdict(each) for each in base.origins]}


Report = Callable[[RunConfig, Say, RunFolder], object]


@dataclass(frozen=True)
class Decision:
    """What becomes of a stage, and why."""

    stage: str
    action: Literal["do", "resume", "skip", "refuse"]
    why: str


def no_report(config: RunConfig, say: Say, here: RunFolder) -> None:
    """Write no report: whoever calls a run says what draws it."""


def prepare_data(config: RunConfig, say: Say, last: str = "tokens", here: RunFolder | None = None) -> list[str]:
    """Bring corpus, tokenizer and tokens up to date, as far as `last`; return the names of those that were made.

    Call it holding the run folder's lock. Raises CheckpointError, before anything is written, when the run has been
    trained on other data or settings; LockedError, before a stage is committed, when another process has taken the
    run over.
    """
    here = here or RunFolder(config.run_dir)
    require_settings(config.run_dir, train_plan(config), here.state)
    require_writable(here.run)
    require_owner(here.run)  # what another owner is writing looks like leftovers
    tidy(here)
    if (base := base_of(config.base, here)) is not None:
        write_kept(here.base, base)
    text = with_files(config.corpus)
    write_files(config.corpus, say)
    made, inputs = [], corpus_inputs(text, FileContents.of_corpus(here.corpus))
    for folder, key in _data_stages(config, text, inputs, here):
        if _data_due(config, folder, key, inputs, here).action == "skip":
            remove_failed_build(folder)  # what an earlier try of other settings left
            if folder != here.corpus:
                remove_folder(work_folder(folder))  # what a process left that was killed when all was made
        else:
            with making(folder.name, config.run_dir):
                if folder == here.corpus:
                    from headwater.corpus.build import build_corpus  # a run whose text is there loads no builder

                    build_corpus(text, folder, say)
                elif folder == here.tokenizer:
                    _make_tokenizer(config, key, say)
                else:
                    rebuild_tokens(config, say)
            made.append(folder.name)
        if folder.name == last:
            break
    return made


def data_due(config: RunConfig, here: RunFolder) -> list[Decision]:
    """Return what `prepare_data` would do of each stage, as far as what is there tells.

    Raises CheckpointError and DataError as it does.
    """
    text, before = with_files(config.corpus), table(here.manifest(here.corpus), "inputs")
    known = {name: str(before.get(name)) for name in unwritten(config.corpus)}  # they would be what they were
    at_hand = {name: source for name, source in text.sources.items() if name not in known}
    contents = FileContents.of_corpus(here.corpus)
    inputs = corpus_inputs(text.model_copy(update={"sources": at_hand}), contents) | known
    found = list[Decision]()
    for folder, key in _data_stages(config, text, inputs, here):
        if found and found[-1].action == "do":
            why = f"{found[-1].stage} is made before it; skipped if that comes out as it was"
            found.append(Decision(folder.name, "do", why))
        else:
            found.append(_data_due(config, folder, key, inputs, here))
    return found


def _data_due(config: RunConfig, folder: Path, key: str, inputs: dict[str, str], here: RunFolder) -> Decision:
    """Return whether a data stage is made; raise CheckpointError where a model was trained on what it holds."""
    before = here.manifest(folder).get("key")
    if before == key:
        return Decision(folder.name, "skip", "it is up to date with its settings and what it is made from")
    _require_untrained(config, folder, inputs)
    changed = "its settings, what it is made from or headwater's own rules changed since it was made"
    return Decision(folder.name, "do", "it isn't made yet" if before is None else changed)


def training_due(config: RunConfig, here: RunFolder, is_new: bool) -> Decision:
    """Return what training does; `is_new`: some of the text was made again, so that rows have to be compared.

    Raises CheckpointError where the checkpoints are of other settings.
    """
    num_steps = config.train.num_steps
    if is_trained(here.run, num_steps, here.attempts()):
        if is_new:
            return Decision("training", "resume", "its text is made again, and compared with its checkpoint's")
        return Decision("training", "skip", f"step {num_steps} is done and measured")
    if step := require_settings(config.run_dir, train_plan(config), here.state):
        return Decision("training", "resume", f"from step {step} of {num_steps}")
    return Decision("training", "do", f"{num_steps} steps, and no checkpoint is there")


def _data_stages(
    config: RunConfig, text: CorpusSettings, inputs: Mapping[str, str], here: RunFolder
) -> Iterator[tuple[Path, str]]:
    """Yield folder and key of each data stage; a key is of what those before it have made by then."""
    yield here.corpus, corpus_key(text, dict(inputs))
    if (base := base_of(config.base, here)) is None:
        yield here.tokenizer, tokenizer_key(config.tokenizer, here.digest(here.corpus))
    else:
        yield here.tokenizer, copied_key(base.digest)
    yield here.tokens, tokens_key_of(config, here)


def _make_tokenizer(config: RunConfig, key: str, say: Say) -> None:
    folders = config.folders
    if (base := base_of(config.base, folders)) is not None:
        from headwater.export.base.facts import write_tokenizer

        return write_tokenizer(base, folders.tokenizer, key)
    from headwater.tokens.sample import sampled_corpus
    from headwater.tokens.tokenizer.train import train_tokenizer

    given = config.tokenizer, folders.tokenizer, key, say
    with sampled_corpus(folders.corpus, *given, engine=config.corpus.engine) as texts:
        train_tokenizer(texts, *given)


def rebuild_tokens(config: RunConfig, say: Say) -> None:
    """Encode the corpus, in place of the tokens that are there; the same corpus and tokenizer give the same bytes."""
    from headwater.tokens.build import build_tokens

    folders = config.folders
    given = folders.corpus, folders.tokenizer, folders.tokens, tokens_key_of(config), say
    build_tokens(*given, replayed=replayed_text(config), engine=config.corpus.engine)


def prepare_rows(config: RunConfig, say: Say) -> None:
    """Verify the token stores and pack them into rows, unless that was done and no file has changed since.

    Where a store is damaged the corpus is encoded again, with a line that says so.
    """
    from headwater.tokens.batches.rows import are_current, build_rows, rows_key

    folders = config.folders

    def pack() -> None:
        key = rows_key(stage_digest(folders.tokens), config.model.seq_len)
        if not are_current(folders.rows, folders.tokens, key):
            with making("rows", config.run_dir):
                build_rows(folders.tokens, folders.rows, config.model.seq_len, key)

    try:
        pack()
    except StoreError as error:
        if is_unmade(folders.tokens):
            raise
        say(f"encoding the corpus again: {str(error).removesuffix(f'; {REBUILD}')}")
        rebuild_tokens(config, say)
        pack()


def _require_untrained(config: RunConfig, stage: Path, inputs: dict[str, str]) -> None:
    """Raise CheckpointError where a model was trained on what a stage holds.

    A stage that was removed may be built again: the same text and settings give the same bytes.
    """
    run = config.run_dir
    if read_manifest_or_none(stage).get("key") is None or not list_checkpoints(run):
        return
    changed = changed_inputs(with_files(config.corpus), stage, inputs) if stage.name == "corpus" else {}
    what = f"its text ({', '.join(changed.values())})" if changed else "its settings (or headwater's own rules)"
    texts = [path for name in changed if (source := config.corpus.sources.get(name)) for path in source.paths or []]
    if here := [word for path in texts if Path(path).exists() for word in ("--text", path)]:
        way = f"to train it on that text: {shlex.join(['headwater', 'new', 'NAME', '--base', str(run), *here])}; or "
    else:
        way = ""
    raise CheckpointError(
        f"{stage} is what the checkpoints of {run} were trained on, and {what} changed since; {way}put back what it "
        f"was, give the new run another name (name=…), or remove {run} to train afresh. Nothing was changed"
    )


def tidy(folders: Folders) -> None:
    """Remove what a killed process left half-written in a run folder; call it holding the folder's lock."""
    for folder in (folders.run, folders.data, folders.run / "checkpoints", folders.hf.parent, folders.hf):
        remove_leftovers(folder)


@contextmanager
def making(stage: str, run_dir: Path, key: str | None = None) -> Iterator[None]:
    """Time what makes a stage, and keep the seconds, and its key where there is one, in RUN/stages.json.

    A KeyboardInterrupt gets a note of the stage that it stopped.
    """
    started_at = time.perf_counter()
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"the stage {stage} was stopped before its end")
        raise
    kept = table(read_json_or_none(run_dir / "stages.json"))
    kept["seconds"] = {**kept.get("seconds", {}), stage: round(time.perf_counter() - started_at, 2)}
    write_json(run_dir / "stages.json", kept if key is None else kept | {stage: key})


def is_made(stage: str, here: RunFolder, key: str) -> bool:
    """Return whether a stage after training was last made with this key."""
    return bool(table(here.json(here.run / "stages.json")).get(stage) == key)


def resume_longer_run(config: RunConfig, say: Say, here: RunFolder) -> None:
    """Where a run was to have fewer steps than now, put aside what the longer one won't come to; say what changes.

    Call it when the run's text is prepared, before anything is written for the number of steps. Raises CheckpointError
    where it can't resume.
    """
    plan, state = train_plan(config), newest_state(config.run_dir, here.state)
    if state is None or not is_lengthened(state, plan):
        return
    prepare_rows(config, say)
    resume_longer(config.run_dir, plan, open_batches(config), say)


def write_config(config: RunConfig, reasons: Sequence[Reason], here: RunFolder | None = None) -> None:
    """Write config.json, unless the same is there already.

    Call it after `prepare_data` or `require_settings`, which refuse settings that a run wasn't trained with:
    config.json says how to read its checkpoints.
    """
    path, record = config.run_dir / "config.json", config_record(config, reasons)
    if (here or RunFolder(config.run_dir)).json(path) != record:
        write_json(path, record)
