"""The text of a run, opened once: the rows that it trains on, in their order, and its held-out text. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.batches.mixture import make_plan
from headwater.batches.pack import PackedSource, pack_source
from headwater.batches.source import BatchSource
from headwater.errors import DataError, StoreError
from headwater.runs.paths import Folders, Require, Say
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import rebuild_tokens
from headwater.seals import is_unmade
from headwater.tokens.read import TokenStore, open_stores, open_stores_without_verifying


@dataclass(frozen=True)
class RunText:
    """The rows to train on, and the packed held-out text of each source."""

    batches: BatchSource
    held_out: dict[str, PackedSource]


def open_text(config: RunConfig) -> RunText:
    """Return a run's text; every store is read through once and verified.

    Raises StoreError for a store that is damaged, or where none is built yet.
    """
    return RunText(open_batches(config), open_held_out(config))


def open_or_rebuild_text(config: RunConfig, say: Say, require_owner: Require) -> RunText:
    """Return a run's text; encode the corpus again, with a line that says so, where a store is damaged."""
    _require_built(config)
    try:
        return open_text(config)
    except StoreError as error:
        say(f"{str(error).split('; ')[0]}; encoding the corpus again")
        rebuild_tokens(config, say, require_owner)
        return open_text(config)


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say; every store is verified."""
    _require_built(config)
    return _batches(config, open_stores)


def open_verified_batches(config: RunConfig) -> BatchSource:
    """Return what `open_batches` does, where another rank of this machine has verified the stores."""
    return _batches(config, open_stores_without_verifying)


def open_held_out(config: RunConfig) -> dict[str, PackedSource]:
    """Return the packed validation split of each source that has one, verified."""
    stores = open_stores(Folders(config.run_dir).tokens, "validation")
    return {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}


def _require_built(config: RunConfig) -> None:
    tokens = Folders(config.run_dir).tokens
    if is_unmade(tokens):
        raise StoreError(f"{tokens} is not built yet; `headwater corpus tokenizer train RUN.toml` builds it")


def _batches(config: RunConfig, open_split: Callable[..., dict[str, TokenStore]]) -> BatchSource:
    tokens = Folders(config.run_dir).tokens
    stores = open_split(tokens, "train")
    if not stores:
        raise DataError(f"{tokens} holds no training text; see `headwater corpus show`")
    sources = {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}
    rows = {name: source.num_rows for name, source in sources.items()}
    plan = make_plan(rows, config.mixture, config.num_rows)
    return BatchSource(sources, plan, config.model.seq_len, config.seed)
