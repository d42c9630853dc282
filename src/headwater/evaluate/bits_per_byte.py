"""Bits per byte: how many bits of surprise a model has for each byte of held-out text.

B batch · T time
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.errors import EvaluationError
from headwater.model.loss import NO_TARGET
from headwater.model.transformer import Transformer
from headwater.ranks.exchange import Ranks


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


Forward = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()  # not inference mode: what `forward` compiles or keeps is used again in training
def measure_surprise(
    model: Transformer,
    batches: Iterable[Batch],
    token_bytes: np.ndarray,
    forward: Forward | None = None,
    ranks: Ranks | None = None,
) -> Surprise:
    """Return the model's surprise over `batches`; `token_bytes[id]` is a token's length in bytes, 0 for specials.

    `forward` gives hidden states of (tokens_BT, documents_BT) as a machine computes them; None: as the model does.
    Byte-level tokens without normalisation cover the text exactly, so the bytes of the scored targets are the
    bytes of the text. Sums are fp64.

    All `ranks` call it together with the same batches. Each computes every so many-th of them whole, and they are added
    in their order: the sum has the same bits at any number of ranks.
    """
    ranks = ranks or Ranks()
    found = [
        _of_batch(model, batch, token_bytes, forward) if number % ranks.world_size == ranks.rank else Surprise()
        for number, batch in enumerate(batches)
    ]
    if ranks.world_size > 1:
        numbers = torch.tensor([astuple(one) for one in found], dtype=torch.float64, device=model.embed.weight.device)
        ranks.wait()  # for a rank that computes for longer than a step's exchange may take
        found = [Surprise(nats, int(num_bytes), int(num)) for nats, num_bytes, num in ranks.sum_(numbers).tolist()]
    return sum(found, Surprise())


def _of_batch(model: Transformer, batch: Batch, token_bytes: np.ndarray, forward: Forward | None) -> Surprise:
    device = model.embed.weight.device
    tokens_BT = torch.from_numpy(batch.tokens_BT.astype(np.int64)).to(device)
    documents_BT = torch.from_numpy(batch.documents_BT.astype(np.int64)).to(device)
    targets_BT = batch.targets_BT
    bytes_BT = np.where(targets_BT == NO_TARGET, 0, token_bytes[np.maximum(targets_BT, 0)])
    scored_BT = np.where(bytes_BT > 0, targets_BT, NO_TARGET)
    x_BTD = (forward or model.hidden)(tokens_BT, documents_BT)
    losses_BT = model.token_losses(x_BTD, torch.from_numpy(scored_BT).to(device))
    return Surprise(float(losses_BT.double().sum()), int(bytes_BT.sum()), int((scored_BT != NO_TARGET).sum()))
