"""Bits per byte: how many bits of surprise a model has for each byte of held-out text.

B batch · T time
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from headwater.core.errors import EvaluationError
from headwater.evaluate.scorer import Scorer
from headwater.model.loss import NO_TARGET
from headwater.tokens.batches.assemble import Batch


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
