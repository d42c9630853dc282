"""Bits per byte: how many bits of surprise a model has for each byte, of held-out text and of anybody's.

B batch · T time
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from headwater.core.errors import EvaluationError
from headwater.core.intervals import MIN_DOCUMENTS, Estimate, ratio_estimate
from headwater.evaluate.baselines import Stream
from headwater.evaluate.generate import windows
from headwater.evaluate.scorer import Scorer
from headwater.model.loss import NO_TARGET
from headwater.tokens.batches.assemble import Batch
from headwater.tokens.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Surprise:
    """Sums over scored targets; special tokens count neither as nats nor as bytes nor as targets."""

    nats: float = 0.0
    num_bytes: int = 0
    num_targets: int = 0

    def __add__(self, other: Surprise) -> Surprise:
        return Surprise(self.nats + other.nats, self.num_bytes + other.num_bytes, self.num_targets + other.num_targets)

    @property
    def bits_per_byte(self) -> float:
        if self.num_bytes == 0:
            raise EvaluationError("no byte of held-out text was scored; give the source more text")
        return self.nats / math.log(2) / self.num_bytes

    @property
    def loss(self) -> float:
        """Mean nats per scored target."""
        return self.nats / max(1, self.num_targets)


def measure_surprise(scorer: Scorer, batches: Iterable[Batch], token_bytes: np.ndarray) -> Surprise:
    """Return a model's surprise over `batches`; `token_bytes[id]` is a token's length in bytes, 0 for specials.

    Byte-level tokens without normalisation cover the text exactly, so the bytes of the scored targets are the
    bytes of the text. Sums are fp64, and added in the order of the batches.
    """
    found = scorer.divided(batches, lambda batch: 3, lambda batch: _of_batch(scorer, batch, token_bytes))
    sums = (Surprise(nats, int(num_bytes), int(num)) for nats, num_bytes, num in (each.tolist() for each in found))
    return sum(sums, Surprise())


def _of_batch(scorer: Scorer, batch: Batch, token_bytes: np.ndarray) -> np.ndarray:
    """Return the nats, bytes and scored targets of a batch."""
    targets_BT = batch.targets_BT
    bytes_BT = np.where(targets_BT == NO_TARGET, 0, token_bytes[np.maximum(targets_BT, 0)])
    scored_BT = np.where(bytes_BT > 0, targets_BT, NO_TARGET)
    arrays = (batch.tokens_BT, batch.documents_BT, scored_BT)
    losses_BT = scorer.token_losses(*(torch.from_numpy(each.astype(np.int64)).to(scorer.device) for each in arrays))
    return np.array([float(losses_BT.double().sum()), bytes_BT.sum(), (scored_BT != NO_TARGET).sum()])


@dataclass(frozen=True)
class TextMeasure:
    """Bits per byte of texts; the interval of 95 % is of `bits_per_byte.num` documents, or passages of few ones.

    It holds for text like this one. Passages of a document resemble each other, so that the interval of passages
    holds for more of these documents alone; None of a single passage.
    """

    bits_per_byte: float
    interval: Estimate | None
    parts: Literal["documents", "passages"]
    num_documents: int
    num_bytes: int
    num_tokens: int


def measure_text(scorer: Scorer, tokenizer: Tokenizer, texts: Sequence[str]) -> TextMeasure:
    """Return a model's bits per byte of texts, each read as a document from its start.

    A text longer than the model sees is read in windows that overlap by half, as `surprise` does; each is a passage.
    Raises EvaluationError when no text holds a byte.
    """
    lengths = tokenizer.bytes_per_token_table()
    pairs, documents = [], []
    for number, ids in enumerate(tokenizer.encode_many(list(texts))):
        scored, ids = 0, [tokenizer.begin_id, *ids]
        for start, stop in windows(len(ids) - 1, scorer.max_tokens) if len(ids) > 1 else ():
            pairs.append((ids[start : scored + 1], ids[scored + 1 : stop + 1]))
            documents.append(number)
            scored = stop
    num_bytes = np.array([lengths[rest].sum() for _, rest in pairs])
    if not num_bytes.sum():
        raise EvaluationError("the text is empty: there is no byte to measure bits of")
    bits = -scorer.loglikelihood(pairs) / math.log(2)
    num_documents = len(set(documents))
    is_of_documents = num_documents >= MIN_DOCUMENTS
    parts = np.unique(documents if is_of_documents else range(len(pairs)), return_inverse=True)[1]
    sums, sizes = (np.bincount(parts, each).tolist() for each in (bits, num_bytes))
    return TextMeasure(
        float(bits.sum() / num_bytes.sum()),
        ratio_estimate(sums, sizes) if len(pairs) > 1 else None,
        "documents" if is_of_documents else "passages",
        num_documents,
        int(num_bytes.sum()),
        sum(len(rest) for _, rest in pairs),
    )


def stream_of(tokenizer: Tokenizer, texts: Sequence[str]) -> Stream:
    """Return texts as a token store has them, for the baselines."""
    documents = [[tokenizer.begin_id, *ids, tokenizer.end_id] for ids in tokenizer.encode_many(list(texts))]
    starts = np.cumsum([0, *map(len, documents)])
    return np.array([token for each in documents for token in each], dtype=np.int64), starts
