"""The text of a run: its rows in their order, its held-out text and the data card. No torch, and nothing is trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import ConfigError, DataError, HeadwaterError, StoreError
from headwater.core.files import read_json_or_none
from headwater.core.manifests import is_unmade
from headwater.corpus.load import balance_of
from headwater.corpus.sources.settings import REPLAYED
from headwater.export.data_card import data_card
from headwater.plan.text_size import shares_of_replay, synthetic_sources
from headwater.runfile.init import kept_base
from headwater.runfile.paths import Folders, RunFolder, stage_digest
from headwater.runfile.run_config import RunConfig, config_of_run
from headwater.tokens.batches.mixture import MixturePlan, make_plan
from headwater.tokens.batches.pack import PackedSource, targets_of
from headwater.tokens.batches.rows import open_packed
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.format import tokens_key
from headwater.train.checkpoint.layout import list_checkpoints

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
