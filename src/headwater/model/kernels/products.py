"""Products of activations with weights, in copies of the weights that are made once a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from headwater.model.kernels.calls import Kernels, require_plain
from headwater.model.kernels.functions import Project

Made = TypeVar("Made")


class Products:
    """What the fused modules of one model multiply with: their weights, stacked and in the activations' dtype.

    Copies live for one forward pass. Nothing tells of every change of a weight (FSDP2 gathers its shards without
    raising a tensor's version), so a pass begins with none.
    """

    keeps_copies = True
    """Until the backward pass; where a block's weights are gathered for each use, copies would hold those of all."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self._copies: dict[tuple[Any, ...], tuple[Sequence[Tensor], Any]] = {}

    def weights_changed(self) -> None:
        """Forget all copies; `Blocks` does at the start of a pass, who calls single modules after an update must."""
        self._copies.clear()

    def __call__(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        """Return the outputs of several linear maps of one input, side by side."""
        weights, bias = [one.weight for one in maps], stacked_bias(maps)
        bias = None if bias is None else bias.to(x_BTD.dtype)
        again = None if self.keeps_copies else self.cast
        return Project.apply(x_BTD, self.cast(weights, x_BTD.dtype), bias, self.kernels, again, *weights)

    def logits_of(self, weight_VD: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return what makes logits (N, V) of rows (N, D)."""
        cast = self.cast([weight_VD], dtype)
        return lambda rows_ND: torch.mm(rows_ND, cast.t())

    def cast(self, weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return weights stacked, in `dtype`, without a gradient."""
        if len(weights) == 1 and weights[0].dtype == dtype:
            require_plain(weights[0])
            return weights[0].detach()
        return self.copied(stacked, weights, dtype)

    @torch.inference_mode(False)  # an evaluation may come before the first step, and a copy serves both
    @torch.no_grad()
    def copied(self, make: Callable[..., Made], weights: Sequence[Tensor], *more: Any) -> Made:
        """Return what `make` makes of weights, made once a pass. Raises KernelError for weights that are spread."""
        key = (make, *more, *map(id, weights))
        if key in self._copies:
            return self._copies[key][1]
        for weight in weights:
            require_plain(weight)
        made = make(weights, *more)
        if self.keeps_copies:
            self._copies[key] = weights, made  # with the weights, so that no other gets their ids
        return made


def stacked(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    heights = [weight.shape[0] for weight in weights]
    out = torch.empty(sum(heights), weights[0].shape[1], dtype=dtype)
    for part, weight in zip(out.split(heights), weights, strict=True):
        part.copy_(weight)
    return out


def stacked_bias(maps: Sequence[nn.Linear]) -> Tensor | None:
    biases: list[Tensor] = [one.bias for one in maps if one.bias is not None]
    return torch.cat(biases) if biases else None
