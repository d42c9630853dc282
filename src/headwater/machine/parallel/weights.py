"""What a prepared model is, and the first values of its weights, of which a rank may have a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headwater.machine.parallel.boxes import box_of, shape_along_tensor, whole_shape
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import Mesh
from headwater.model.init import FirstValue
from headwater.model.transformer import Transformer


@dataclass(frozen=True)
class Prepared:
    """A model with its first weights; what trains it, and what evaluates it, all ranks together."""

    model: Transformer
    fast_model: Transformer
    "The same parameters, as they are trained with."
    measured: Transformer
    "What an evaluation calls for inputs of many shapes, and `hidden` for those of few."
    hidden: Callable[[Tensor, Tensor], Tensor]


def divide_weights_(model: Transformer, mesh: Mesh) -> None:
    """Leave of each parameter, on the meta device, what a rank along `tensor` has of it."""
    for module_name, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = shape_along_tensor(f"{module_name}.{name}", parameter.shape, mesh)
            setattr(module, name, nn.Parameter(torch.empty(shape, device="meta")))


@torch.no_grad()
def initialise_(model: Transformer, first_value: FirstValue, ranks: Ranks) -> None:
    """Give this rank's boxes of all parameters their first values."""
    model.fill_buffers_()
    for name, parameter in model.named_parameters():
        shape = whole_shape(name, parameter.shape, ranks.mesh)
        part = box_of(name, shape, ranks.mesh, ranks.rank).slices
        local(parameter).copy_(first_value(name, shape, part=part))
