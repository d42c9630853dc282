"""How far a new text is from what a model was trained on, in bits per byte of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headwater.base.facts import BaseFacts
from headwater.base.tokenizer import foreign_tokenizer
from headwater.base.weights import model_of
from headwater.evaluate.bits_per_byte import Surprise
from headwater.evaluate.scorer import Scorer
from headwater.runs.paths import Folders
from headwater.seals import is_unmade
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.read import TokenStore, open_stores_without_verifying

NUM_TOKENS, MAX_TOKENS = 16_384, 256  # of each text, and of one sequence: seconds for a small model, a minute at 135M


@dataclass(frozen=True)
class Shift:
    """Bits per byte of a model on new text and on the held-out text of its own run, which public models don't have."""

    new: float
    old: float | None

    @property
    def ratio(self) -> float | None:
        return None if self.old is None else self.new / self.old


def tokenizer_of(base: BaseFacts) -> Tokenizer:
    return Tokenizer.load(base.tokenizer) if base.kind == "checkpoint" else foreign_tokenizer(base)


def run_of(base: BaseFacts) -> Path | None:
    """Return the folder of the run that a base is of, where its text lies there still."""
    if base.kind != "checkpoint":
        return None
    run = base.weights.resolve().parents[1]
    return None if is_unmade(Folders(run).tokens) else Path(base.path if Path(base.path).resolve() == run else run)


def measure_shift(base: BaseFacts, tokenizer: Tokenizer, new: Sequence[str]) -> Shift:
    """Return bits per byte on parts of the new text, in their order, and on held-out documents of the base's run."""
    scorer, token_bytes = Scorer(model_of(base)), tokenizer.bytes_per_token_table()
    run = run_of(base)
    old = None if run is None else _rows_of_stores(open_stores_without_verifying(Folders(run).tokens, "validation"))
    ids = ([tokenizer.begin_id, *tokenizer.encode(part)] for part in new)
    return Shift(_bits(scorer, ids, token_bytes), None if old is None else _bits(scorer, old, token_bytes))


def _rows_of_stores(stores: dict[str, TokenStore]) -> Iterable[list[int]]:
    """Yield the beginnings of held-out documents, of each source in turn."""
    for number in range(max(store.num_documents for store in stores.values())):
        for store in (store for store in stores.values() if number < store.num_documents):
            start, end = store.starts[number], store.starts[number + 1]
            yield store.slice(start, min(end, start + MAX_TOKENS)).tolist()


@torch.no_grad()
def _bits(scorer: Scorer, rows: Iterable[list[int]], token_bytes: np.ndarray) -> float:
    found = Surprise()
    for row in rows:
        ids = row[: min(MAX_TOKENS, scorer.max_tokens)]
        if len(ids) > 1:
            num_bytes = token_bytes[ids[1:]]
            is_text = num_bytes > 0
            nats = float(scorer.target_losses(ids)[is_text].sum())
            found += Surprise(nats, int(num_bytes.sum()), int(is_text.sum()))
        if found.num_targets >= NUM_TOKENS:
            break
    return found.bits_per_byte
