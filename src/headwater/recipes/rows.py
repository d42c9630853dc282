"""The rows that a run trains on, in their order: from its token stores and settings. No torch."""

from __future__ import annotations

from headwater.batches.mixture import make_plan
from headwater.batches.pack import pack_source
from headwater.batches.source import BatchSource
from headwater.errors import StoreError
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import Folders
from headwater.seals import is_unmade
from headwater.tokens.read import TokenStore, open_stores, open_stores_without_verifying


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say; every store is verified.

    Raises StoreError for a store that is damaged, or where none is built yet.
    """
    tokens = Folders(config.run_dir).tokens
    if is_unmade(tokens):
        raise StoreError(f"{tokens} is not built yet; `headwater corpus tokenizer train RUN.toml` builds it")
    return _batches(config, open_stores(tokens, "train"))


def open_verified_batches(config: RunConfig) -> BatchSource:
    """Return what `open_batches` does, where another rank of this machine has verified the stores."""
    return _batches(config, open_stores_without_verifying(Folders(config.run_dir).tokens, "train"))


def _batches(config: RunConfig, stores: dict[str, TokenStore]) -> BatchSource:
    if not stores:
        tokens = Folders(config.run_dir).tokens
        raise StoreError(f"{tokens} holds no training text; see `headwater corpus show`")
    sources = {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}
    rows = {name: source.num_rows for name, source in sources.items()}
    plan = make_plan(rows, config.mixture, config.num_rows)
    return BatchSource(sources, plan, config.model.seq_len, config.seed)
