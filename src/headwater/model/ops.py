"""The operations a model is made of, in plain PyTorch; a machine may bring a subclass that computes them faster.

B batch · T time · N tokens (B × T) · D model width · F MLP width · H query heads · G key and value heads
K head width · P channel pairs of a head (K/2) · V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.model.attention import attend
from headwater.model.loss import chunk_loss, next_token_loss, token_losses

Attend = Callable[[Tensor, Tensor, Tensor, Any], Tensor]


class PlainOps:
    """PyTorch's own operations; `chunk` is `chunk_loss` or a compiled form of it, `attention` equals `attend`.

    The `documents_BT` that a model is called with may be anything that its `attention` understands.
    """

    def __init__(self, chunk: Callable[..., Any] = chunk_loss, attention: Attend = attend) -> None:
        self._chunk = chunk
        self._attention = attention

    def add_rms_norm(self, x_BTD: Tensor, y_BTD: Tensor | None, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Return x + y (x where there is no y) and its root-mean-square norm, computed in fp32 (arXiv:1910.07467)."""
        total = x_BTD if y_BTD is None else x_BTD + y_BTD
        return total, rms_norm(total, weight_D, eps)

    def project(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        """Return the outputs of several linear maps of one input, side by side."""
        weights: list[Tensor] = [one.weight for one in maps]
        weight = torch.cat(weights).to(x_BTD.dtype)
        biases: list[Tensor] = [one.bias for one in maps if one.bias is not None]
        return F.linear(x_BTD, weight, torch.cat(biases).to(x_BTD.dtype) if biases else None)

    def split_heads(
        self,
        qkv: Tensor,
        num_heads: int,
        num_kv_heads: int,
        norms: tuple[Tensor, Tensor, float] | None,
        table_2TP: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, T, H, K), keys and values (B, T, G, K) of a joint projection (B, T, (H + 2G) K).

        `norms` are the RMSNorm weights of each query's and key's head, and their eps. `table_2TP` turns channel pairs
        by position, None turns nothing. Another implementation may return other layouts that its `attend` knows.
        """
        num_all = num_heads + 2 * num_kv_heads
        q, k, v = qkv.unflatten(-1, (num_all, -1)).split([num_heads, num_kv_heads, num_kv_heads], dim=-2)
        if norms is not None:
            q, k = rms_norm(q, norms[0], norms[2]), rms_norm(k, norms[1], norms[2])
        if table_2TP is not None:
            q, k = rotate(q, table_2TP), rotate(k, table_2TP)
        return q, k, v

    def visibility(self, documents_BT: Any) -> Any:
        """Return what `attend` asks of the documents; made once a batch, since every layer asks for the same."""
        return documents_BT

    def attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Any) -> Tensor:
        """Return attention's values (B, T, H K): a token sees itself and earlier tokens of its own document."""
        return self._attention(q, k, v, visible).flatten(-2)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """Return silu(gate) · up for (…, 2F), gates first (arXiv:2002.05202)."""
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    def loss_sum(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the sum of -log p(target) over all targets, in fp32; a target of -1 does not count."""
        return next_token_loss(x_BTD, weight_VD, targets_BT, self._chunk)

    def token_losses(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        """Return -log p(target) of every token in fp32, 0 where there is no target; without a gradient."""
        return token_losses(x_BTD, weight_VD, targets_BT)


class ModuleOps(PlainOps):
    """As PlainOps, but linear maps that a machine has replaced by modules of its own are called as such."""

    def project(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        plain = super().project
        return torch.cat([plain(x_BTD, (one,)) if type(one) is nn.Linear else one(x_BTD) for one in maps], dim=-1)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x32 = x.float()
    scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)
    return (x32 * scale * weight).to(x.dtype)


def rotate(x_BTHK: Tensor, table_2TP: Tensor) -> Tensor:
    """Turn channel pairs (i, i + K/2) by their position's angle: the half-split layout that Hugging Face models use."""
    cos, sin = table_2TP[:, :, None, :].to(x_BTHK.dtype)
    first, second = x_BTHK.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
