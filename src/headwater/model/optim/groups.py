"""Parameters to groups, each in exactly one; and which rank keeps and computes what of the optimizer.

Each part of it is on one rank, which gives the result to all. Parts are a function of the model, and of how matrices
are divided, so that an update has the same bits at any number of ranks that divide none. This is ZeRO-1
(arXiv:1910.02054) by whole matrices, because Muon needs them whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol

from torch import Tensor, nn

from headwater.model.optim.settings import OptimSettings, owners_by_cost, stack_size, update_cost

UpdateRule = Literal["muon", "adamw"]


@dataclass(frozen=True)
class ParameterGroup:
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
) -> list[ParameterGroup]:
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
        ParameterGroup(
            kind, *rules[kind], members, {name: whole_shape(name, one.shape) for name, one in members.items()}
        )
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


class Exchange(Protocol):
    """What the optimizer asks of the ranks of a run."""

    rank: int
    world_size: int

    def share_(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Copy tensors from their owners to all others: `tensors[r]` are those that rank r has the values of."""


class Alone:
    """One rank, which owns everything."""

    rank, world_size = 0, 1

    def share_(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        pass


@dataclass(frozen=True)
class ParameterPart:
    """Parameters of a group that are updated together."""

    group: ParameterGroup
    names: list[str]

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.group.rule == "muon" else ("mean", "square")

    @property
    def cost(self) -> float:
        shapes = [self.group.shapes[name] for name in self.names]
        return sum(update_cost(shape, prod(shape), is_muon=self.group.rule == "muon") for shape in shapes)


def parts_of(groups: Sequence[ParameterGroup]) -> list[ParameterPart]:
    """Return all parts: of Muon's matrices of one shape as many as are orthogonalised together, else single ones."""
    return [ParameterPart(group, names) for group in groups for names in _names(group)]


def _names(group: ParameterGroup) -> list[list[str]]:
    if group.rule != "muon":
        return [[name] for name in group.parameters]
    by_shape: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
    for name, parameter in group.parameters.items():
        by_shape.setdefault((group.shapes[name], tuple(parameter.shape)), []).append(name)
    return [part for (shape, _), names in by_shape.items() for part in _stacks(names, shape)]


def _stacks(names: list[str], shape: tuple[int, ...]) -> list[list[str]]:
    size = stack_size(*shape)
    return [names[start : start + size] for start in range(0, len(names), size)]


def owners_of(parts: Sequence[ParameterPart], world_size: int) -> list[int]:
    """Return the rank of each part."""
    return owners_by_cost([part.cost for part in parts], world_size)
