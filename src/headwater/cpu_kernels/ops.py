"""The model's operations on a processor: torch's matrix products, kernels for all that lies between.

N tokens (B × T) · D model width
F MLP width · H query heads · G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from headwater.cpu_kernels.calls import SUFFIX, Kernels, require_plain
from headwater.cpu_kernels.functions import AddNorm, Attend, LossSum, Project, SplitHeads, Swiglu, chunks
from headwater.model.ops import PlainOps


class Copy:
    """Masters in another dtype, stacked; made again as soon as a master may have changed.

    A renewed copy is a new tensor: a graph that was built with the one before may still read that one.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        for weight in weights:
            require_plain(weight)
        self._weights = list(weights)
        self._made_of: list[Any] = []

    @torch.inference_mode(False)  # an evaluation may come before the first step, and the copy serves both
    @torch.no_grad()
    def current(self, generation: int, kernels: Kernels) -> Self:
        now = [generation, *((weight.data_ptr(), weight._version) for weight in self._weights)]
        if now != self._made_of:
            self.renew(self._weights, kernels)
            self._made_of = now
        return self

    def renew(self, weights: Sequence[Tensor], kernels: Kernels) -> None:
        raise NotImplementedError


class Cast(Copy):
    """Masters stacked and cast to the dtype of the activations."""

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        super().__init__(weights)
        self._dtype = dtype

    def renew(self, weights: Sequence[Tensor], kernels: Kernels) -> None:
        heights = [weight.shape[0] for weight in weights]
        self.value = torch.empty(sum(heights), weights[0].shape[1], dtype=self._dtype)
        for part, weight in zip(self.value.split(heights), weights, strict=True):
            part.copy_(weight)


OneCopy = TypeVar("OneCopy", bound=Copy)


class KernelOps(PlainOps):
    """The operations of one model.

    Queries, keys and values are (B, heads, T, K) here.
    """

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._kernels = Kernels(library, num_threads)
        self._copies: dict[tuple[Any, ...], Any] = {}  # each holds its masters, so that no other gets their ids
        self._generation, self._has_trained = 0, False

    def add_rms_norm(self, x_BTD: Tensor, y_BTD: Tensor | None, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        y_BTD = None if y_BTD is None else y_BTD.contiguous()
        return AddNorm.apply(x_BTD.contiguous(), y_BTD, weight_D, eps, self._kernels)

    def project(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        weights, bias = [one.weight for one in maps], bias_of(maps)
        bias = None if bias is None else bias.to(x_BTD.dtype)
        return Project.apply(x_BTD, self._cast(weights, x_BTD.dtype), bias, self._kernels, *weights)

    def split_heads(
        self,
        qkv: Tensor,
        num_heads: int,
        num_kv_heads: int,
        norms: tuple[Tensor, Tensor, float] | None,
        table_2TP: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        query_weight, key_weight, eps = norms or (None, None, 0.0)
        table = None if table_2TP is None else table_2TP.contiguous()
        return SplitHeads.apply(
            qkv.contiguous(), query_weight, key_weight, eps, table, num_heads, num_kv_heads, self._kernels
        )

    def visibility(self, documents_BT: Tensor) -> Tensor:
        # A forward pass begins. Not every update raises the version of what it writes (FSDP2's all-gather doesn't):
        # training copies the weights once a forward pass, and the first evaluation after it does, too.
        is_training = torch.is_grad_enabled()
        self._generation += is_training or self._has_trained
        self._has_trained = is_training
        return first_visible(documents_BT)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, first_BT: Tensor) -> Tensor:
        return Attend.apply(q, k, v, first_BT, self._kernels)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        return Swiglu.apply(gate_up.contiguous(), self._kernels)

    def loss_sum(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        cast = self._cast([weight_VD], x_BTD.dtype)
        return LossSum.apply(x_BTD, weight_VD, cast, targets_BT.long(), self._kernels)

    @torch.no_grad()
    def token_losses(self, x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
        rows, targets = x_BTD.reshape(-1, x_BTD.shape[-1]), targets_BT.long().reshape(-1)
        cast, losses = self._cast([weight_VD], x_BTD.dtype), torch.empty(rows.shape[0])
        for part in chunks(rows.shape[0], cast.shape[0]):
            logits = torch.mm(rows[part], cast.t())
            self._kernels(f"losses_{SUFFIX[x_BTD.dtype]}", logits, targets[part], *logits.shape, losses[part])
        return losses.view(targets_BT.shape)

    def _cast(self, weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        if len(weights) == 1 and weights[0].dtype == dtype:
            return weights[0].detach()
        return self._copy(Cast, weights, dtype).value

    def _copy(self, kind: Callable[..., OneCopy], weights: Sequence[Tensor], *more: Any) -> OneCopy:
        key = (kind, *more, *map(id, weights))
        if key not in self._copies:
            self._copies[key] = kind(weights, *more)
        return self._copies[key].current(self._generation, self._kernels)


def bias_of(maps: Sequence[nn.Linear]) -> Tensor | None:
    biases: list[Tensor] = [one.bias for one in maps if one.bias is not None]
    return torch.cat(biases) if biases else None


def first_visible(documents_BT: Tensor) -> Tensor:
    """Return the position at which each token's document begins, (B, T) int32; documents are contiguous."""
    begins = torch.ones_like(documents_BT, dtype=torch.bool)
    begins[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    positions = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    return torch.where(begins, positions, 0).cummax(dim=1).values.int().contiguous()
