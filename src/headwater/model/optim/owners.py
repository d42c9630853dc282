"""Which rank keeps and computes what of the optimizer: each part of it on one rank, which gives the result to all.

Parts are a function of the model, and of how matrices are divided, so that an update has the same bits at any number of
ranks that divide none. This is ZeRO-1
(arXiv:1910.02054) by whole matrices, because Muon needs them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

from torch import Tensor

from headwater.model.optim.groups import Group
from headwater.model.optim.settings import owners_by_cost, stack_size, update_cost


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
class Part:
    """Parameters of a group that are updated together."""

    group: Group
    names: list[str]

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.group.rule == "muon" else ("mean", "square")

    @property
    def cost(self) -> float:
        shapes = [self.group.shapes[name] for name in self.names]
        return sum(update_cost(shape, prod(shape), is_muon=self.group.rule == "muon") for shape in shapes)


def parts_of(groups: Sequence[Group]) -> list[Part]:
    """Return all parts: of Muon's matrices of one shape as many as are orthogonalised together, else single ones."""
    return [Part(group, names) for group in groups for names in _names(group)]


def _names(group: Group) -> list[list[str]]:
    if group.rule != "muon":
        return [[name] for name in group.parameters]
    by_shape: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
    for name, parameter in group.parameters.items():
        by_shape.setdefault((group.shapes[name], tuple(parameter.shape)), []).append(name)
    return [part for (shape, _), names in by_shape.items() for part in _stacks(names, shape)]


def _stacks(names: list[str], shape: tuple[int, ...]) -> list[list[str]]:
    size = stack_size(*shape)
    return [names[start : start + size] for start in range(0, len(names), size)]


def owners_of(parts: Sequence[Part], world_size: int) -> list[int]:
    """Return the rank of each part."""
    return owners_by_cost([part.cost for part in parts], world_size)
