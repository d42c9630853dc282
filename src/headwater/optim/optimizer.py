"""One update of all parameters: Muon and AdamW groups behind one `step`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from headwater.errors import CheckpointError
from headwater.optim.groups import Group, group_parameters
from headwater.optim.muon import muon_update_
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates, Updates

STACKED_NUMBERS = 1 << 23  # of the matrices orthogonalised together: enough for fast products, 16 MB a copy in bf16


class Optimizer:
    """The state of all update rules; every parameter is in exactly one group."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        optim: OptimSettings,
        compute_dtype: torch.dtype = torch.float32,
        updates: Updates | None = None,
    ) -> None:
        self.settings = optim
        self._updates = PlainUpdates() if updates is None else updates
        self.groups = group_parameters(named_parameters, optim)
        self.num_updates = 0
        self._compute_dtype = compute_dtype
        self._state = {
            f"{name}.{slot}": torch.zeros_like(parameter)
            for group in self.groups
            for name, parameter in group.parameters.items()
            for slot in (("momentum",) if group.rule == "muon" else ("mean", "square"))
        }

    @torch.no_grad()
    def step(self, lr_factor: float) -> None:
        """Update every parameter, one without a gradient as if that were 0, at its group's rate times `lr_factor`."""
        self.num_updates += 1
        for group in self.groups:
            update = self._muon if group.rule == "muon" else self._adamw
            update(group, group.lr * lr_factor)

    def zero_grad(self) -> None:
        for group in self.groups:
            for parameter in group.parameters.values():
                parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the state by name, for a checkpoint; the tensors are the live ones."""
        return dict(self._state)

    def load_state_tensors(self, tensors: Mapping[str, Tensor], num_updates: int) -> None:
        """Copy a checkpoint's state in; raise CheckpointError unless it has exactly this optimizer's tensors."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        expected = {name: tensor.shape for name, tensor in self._state.items()}
        if shapes != expected:
            names = shapes.keys() | expected.keys()
            different = sorted(name for name in names if shapes.get(name) != expected.get(name))
            raise CheckpointError(f"the checkpoint's optimizer state doesn't fit this run: {different[:4]} differ")
        for name, tensor in tensors.items():
            self._state[name].copy_(tensor)
        self.num_updates = num_updates

    def _muon(self, group: Group, lr: float) -> None:
        by_shape: dict[torch.Size, list[str]] = {}
        for name, parameter in group.parameters.items():
            by_shape.setdefault(parameter.shape, []).append(name)
        for names in (part for same in by_shape.values() for part in _parts(same, group.parameters)):
            parameters: list[Tensor] = [group.parameters[name] for name in names]
            muon_update_(
                parameters,
                [_gradient(parameter) for parameter in parameters],
                [self._state[f"{name}.momentum"] for name in names],
                self._updates,
                lr=lr,
                momentum=self.settings.momentum,
                weight_decay=group.weight_decay,
                block_rows=self.settings.block_rows,
                compute_dtype=self._compute_dtype,
            )

    def _adamw(self, group: Group, lr: float) -> None:
        parameters: list[Tensor] = list(group.parameters.values())
        self._updates.adamw_(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            [self._state[f"{name}.mean"] for name in group.parameters],
            [self._state[f"{name}.square"] for name in group.parameters],
            self.num_updates,
            lr=lr,
            beta1=self.settings.beta1,
            beta2=self.settings.beta2,
            eps=self.settings.eps,
            weight_decay=group.weight_decay,
        )


def _parts(names: list[str], parameters: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names in parts whose matrices are orthogonalised together."""
    size = max(1, STACKED_NUMBERS // parameters[names[0]].numel())
    return [names[start : start + size] for start in range(0, len(names), size)]


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
