"""One update of all parameters: Muon and AdamW groups behind one `step`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from headwater.core.errors import CheckpointError
from headwater.model.optim.groups import (
    Alone,
    Exchange,
    ParameterGroup,
    ParameterPart,
    Shape,
    group_parameters,
    owners_of,
    parts_of,
)
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import AdamW, Muon, PlainUpdates


class Optimizer:
    """The state of all update rules that this rank owns; every parameter is in exactly one part, of one rank."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        optim: OptimSettings,
        compute_dtype: torch.dtype = torch.float32,
        updates: PlainUpdates | None = None,
        ranks: Exchange | None = None,
        whole_shape: Shape = lambda name, shape: tuple(shape),
    ) -> None:
        self.settings = optim
        self._updates = PlainUpdates() if updates is None else updates
        self._ranks = Alone() if ranks is None else ranks
        self.groups = group_parameters(named_parameters, optim, whole_shape)
        self._compute_dtype = compute_dtype
        self._parts = parts_of(self.groups)
        self._owners = owners_of(self._parts, self._ranks.world_size)
        self._state = {
            f"{name}.{slot}": torch.zeros_like(part.group.parameters[name])
            for part in self._parts_of(self._ranks.rank)
            for name in part.names
            for slot in part.slots
        }

    def _parts_of(self, rank: int) -> list[ParameterPart]:
        return [part for part, owner in zip(self._parts, self._owners, strict=True) if owner == rank]

    @torch.no_grad()
    def step(self, lr_factor: float, step: int) -> None:
        """Update every parameter, one without a gradient as if that were 0, at its group's rate times `lr_factor`.

        `step` is the number of updates before this one, by which AdamW corrects its means.
        """
        owned, optim = self._parts_of(self._ranks.rank), self.settings
        for group in self.groups:
            parts, lr = [part for part in owned if part.group is group], group.lr * lr_factor
            if not parts:
                continue
            if group.rule == "muon":
                self._muon(
                    group, parts, Muon(lr, optim.momentum, group.weight_decay, optim.block_rows, self._compute_dtype)
                )
            else:
                by = AdamW(step + 1, lr, optim.beta1, optim.beta2, optim.eps, group.weight_decay)
                self._adamw(group, [name for part in parts for name in part.names], by)
        self._ranks.share_(
            [
                [one for part in self._parts_of(rank) for one in self._parameters(part.group, part.names)]
                for rank in range(self._ranks.world_size)
            ]
        )

    def zero_grad(self) -> None:
        for group in self.groups:
            for parameter in group.parameters.values():
                parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Return this rank's state by name, for a checkpoint; the tensors are the live ones."""
        return dict(self._state)

    def require_state(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise CheckpointError unless a checkpoint's tensors are those of this optimizer, all ranks together."""
        expected = {
            f"{name}.{slot}": part.group.shapes[name]
            for part in self._parts
            for name in part.names
            for slot in part.slots
        }
        if shapes != expected:
            names = shapes.keys() | expected.keys()
            different = sorted(name for name in names if shapes.get(name) != expected.get(name))
            raise CheckpointError(f"the checkpoint's optimizer state doesn't fit this run: {different[:4]} differ")

    def forget(self) -> None:
        """Return to the state before the first update."""
        for tensor in self._state.values():
            tensor.zero_()

    def _muon(self, group: ParameterGroup, parts: Sequence[ParameterPart], by: Muon) -> None:
        for names in (part.names for part in parts):
            momenta = self._slots(names, "momentum")
            self._updates.muon_(self._parameters(group, names), self._gradients(group, names), momenta, by)

    def _adamw(self, group: ParameterGroup, names: list[str], by: AdamW) -> None:
        parameters, gradients = self._parameters(group, names), self._gradients(group, names)
        self._updates.adamw_(parameters, gradients, self._slots(names, "mean"), self._slots(names, "square"), by)

    def _parameters(self, group: ParameterGroup, names: Sequence[str]) -> list[Tensor]:
        return [self._held(group.parameters[name]) for name in names]

    def _gradients(self, group: ParameterGroup, names: Sequence[str]) -> list[Tensor]:
        return [self._held(_gradient(group.parameters[name])) for name in names]

    def _slots(self, names: Sequence[str], slot: str) -> list[Tensor]:
        return [self._held(self._state[f"{name}.{slot}"]) for name in names]

    def _held(self, tensor: Tensor) -> Tensor:
        """Return what this rank has of a tensor: here all of it."""
        return tensor


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
