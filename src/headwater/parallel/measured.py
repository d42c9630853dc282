"""A model that ranks hold parts of, as an evaluation calls it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from headwater.model.transformer import Transformer
from headwater.ranks.exchange import Ranks
from headwater.ranks.mesh import LAYER_AXES


class MeasuredModel:
    """A divided model for whole sequences of any length: hidden states and scores are whole on every rank."""

    def __init__(self, model: Transformer, methods: Callable[[str], Callable[..., Tensor]], ranks: Ranks) -> None:
        """`methods` returns a model's method by its name, in whatever way it has to be called."""
        self.settings, self.device = model.settings, model.device
        self._hidden, self._logits, self.token_losses = map(methods, ("hidden", "logits", "token_losses"))
        self._ranks, self._tensor = ranks.along(*LAYER_AXES), ranks.along("tensor")

    def hidden(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        num_tokens = tokens_BT.shape[1]
        missing = -num_tokens % self._ranks.world_size
        # behind all others: no token sees them
        tokens_BT, documents_BT = F.pad(tokens_BT, (0, missing)), F.pad(documents_BT, (0, missing))
        return self._ranks.joined(self._hidden(tokens_BT, documents_BT), dim=1)[:, :num_tokens]

    def logits(self, x_D: Tensor) -> Tensor:
        return self._tensor.joined(self._logits(x_D), dim=-1)
