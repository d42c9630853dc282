"""Parameters to groups: each parameter in exactly one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from headwater.model.optim.settings import OptimSettings

UpdateRule = Literal["muon", "adamw"]


@dataclass(frozen=True)
class Group:
    """Parameters, by name, that share an update rule, a peak learning rate and a weight decay."""

    name: str
    rule: UpdateRule
    lr: float
    weight_decay: float
    parameters: dict[str, nn.Parameter]
    shapes: dict[str, tuple[int, ...]]
    "Of the whole parameters, of which a rank may have a part."


Shape = Callable[[str, Sequence[int]], tuple[int, ...]]
"Of a parameter's name and of the shape of the part that a rank along `tensor` has to the shape of the whole."


def group_parameters(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    optim: OptimSettings,
    whole_shape: Shape = lambda name, shape: tuple(shape),
) -> list[Group]:
    """Return the groups matrices, embeddings, head and vectors; empty ones are dropped."""
    kinds: dict[str, dict[str, nn.Parameter]] = {"matrices": {}, "embeddings": {}, "head": {}, "vectors": {}}
    for name, parameter in named_parameters:
        kinds[_kind(name, parameter)][name] = parameter
    rules: dict[str, tuple[UpdateRule, float, float]] = {
        "matrices": (optim.name, optim.matrix_lr, optim.weight_decay),
        "embeddings": ("adamw", optim.embedding_lr, 0.0),
        "head": ("adamw", optim.head_lr, 0.0),
        "vectors": ("adamw", optim.vector_lr, 0.0),
    }
    return [
        Group(kind, *rules[kind], members, {name: whole_shape(name, one.shape) for name, one in members.items()})
        for kind, members in kinds.items()
        if members
    ]


def _kind(name: str, parameter: nn.Parameter) -> str:
    if name in ("embed.weight", "positions.weight"):
        return "embeddings"
    if name == "head.weight":
        return "head"
    if parameter.ndim == 2:
        return "matrices"
    if parameter.ndim == 1:
        return "vectors"
    raise AssertionError(f"no group takes the parameter {name} of shape {tuple(parameter.shape)}")
