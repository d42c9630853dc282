"""What every optimizer must do, whichever rule its matrices follow."""

from __future__ import annotations

import math

import pytest
import torch
from few_parameters import FewParameters
from torch import nn

from headwater.core.errors import CheckpointError
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings

pytestmark = pytest.mark.parametrize("rule", ["muon", "adamw"])


def distance(model: nn.Module, target: nn.Module) -> torch.Tensor:
    """Return a quadratic whose minimum is at `target`."""
    return sum((one - its.detach()).square().sum() for one, its in zip(model.parameters(), target.parameters()))


def optimizer_of(model: nn.Module, rule: str, weight_decay: float = 0.0) -> Optimizer:
    settings = OptimSettings(
        name=rule, matrix_lr=0.05, embedding_lr=0.05, head_lr=0.05, vector_lr=0.05, weight_decay=weight_decay
    )
    return Optimizer(model.named_parameters(), settings)


def take_steps(model: FewParameters, optimizer: Optimizer, num_steps: int, first: int = 0) -> None:
    target = FewParameters(seed=1)
    for step in range(first, first + num_steps):
        optimizer.zero_grad()
        (distance(model, target) * (1 + math.sin(step))).backward()
        optimizer.step(1 / (1 + step), step)


def values(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_decreases_a_quadratic(rule):
    model, target = FewParameters(), FewParameters(seed=1)
    optimizer = optimizer_of(model, rule)
    before = distance(model, target).item()
    for step in range(200):
        optimizer.zero_grad()
        distance(model, target).backward()
        optimizer.step(1 - step / 200, step)
    assert distance(model, target).item() < 0.01 * before


def load_(optimizer, tensors):
    """Load a checkpoint's state as training does: checked by names and shapes, then copied into the tensors."""
    optimizer.require_state({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    for name, tensor in optimizer.state_tensors().items():
        tensor.copy_(tensors[name])


def test_its_state_makes_the_round_trip(rule):
    """Steps, save, load into a new one, steps: bit by bit the same as without the break."""
    whole, broken, resumed = FewParameters(), FewParameters(), FewParameters(seed=7)
    take_steps(whole, optimizer_of(whole, rule), 8)
    first = optimizer_of(broken, rule)
    take_steps(broken, first, 5)
    saved = {name: tensor.clone() for name, tensor in first.state_tensors().items()}
    resumed.load_state_dict(broken.state_dict())
    second = optimizer_of(resumed, rule)
    load_(second, saved)
    take_steps(resumed, second, 3, first=5)
    assert same(values(resumed), values(whole))


def test_every_state_tensor_is_named_after_its_parameter(rule):
    model = FewParameters()
    names = {name for name, _ in model.named_parameters()}
    slots = {name.rpartition(".")[0] for name in optimizer_of(model, rule).state_tensors()}
    assert slots == names


def test_a_state_of_another_shape_of_run_is_refused(rule):
    optimizer = optimizer_of(FewParameters(), rule)
    state = dict(optimizer.state_tensors())
    missing = dict(list(state.items())[1:])
    with pytest.raises(CheckpointError, match="doesn't fit this run"):
        load_(optimizer, missing)
    with pytest.raises(CheckpointError, match="doesn't fit this run"):
        load_(optimizer, state | {"other.mean": torch.zeros(1)})
    name, tensor = next(iter(state.items()))
    for shape in ((2, *tensor.shape), tensor.shape[1:]):  # the second would be broadcast without a word
        with pytest.raises(CheckpointError, match=f"doesn't fit this run: \\['{name}'\\] differ"):
            load_(optimizer, state | {name: torch.ones(shape)})
    assert not any(tensor.any() for tensor in optimizer.state_tensors().values()), "a refused state was half loaded"


def test_loading_a_state_does_not_keep_hold_of_it(rule):
    model = FewParameters()
    optimizer = optimizer_of(model, rule)
    saved = {name: torch.ones_like(tensor) for name, tensor in optimizer.state_tensors().items()}
    load_(optimizer, saved)
    take_steps(model, optimizer, 1)
    assert all(bool((tensor == 1).all()) for tensor in saved.values())


def test_zero_gradients_leave_the_weights_where_they_are(rule):
    model = FewParameters()
    before, optimizer = values(model), optimizer_of(model, rule)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(1.0, 0)
    assert same(values(model), before)


def test_a_missing_gradient_is_a_zero_gradient(rule):
    """Groups are stacked by shape: one matrix without a gradient must not shift the others'."""
    models = [FewParameters(), FewParameters()]
    for model, is_missing in zip(models, (True, False)):
        optimizer = optimizer_of(model, rule)
        take_steps(model, optimizer, 2)
        optimizer.zero_grad()
        distance(model, FewParameters(seed=1)).backward()
        model.blocks[0].weight.grad = None if is_missing else torch.zeros(6, 4)
        optimizer.step(1.0, 0)
    assert same(values(models[0]), values(models[1]))


def test_zero_grad_leaves_no_gradient(rule):
    model = FewParameters()
    optimizer = optimizer_of(model, rule)
    distance(model, FewParameters(seed=1)).backward()
    optimizer.zero_grad()
    assert not [parameter for parameter in model.parameters() if parameter.grad is not None]


def test_a_learning_rate_of_zero_changes_the_state_and_not_the_weights(rule):
    model = FewParameters()
    before, optimizer = values(model), optimizer_of(model, rule, weight_decay=0.1)
    distance(model, FewParameters(seed=1)).backward()
    optimizer.step(0.0, 0)
    assert same(values(model), before)
    assert all(tensor.any() for tensor in optimizer.state_tensors().values())


def test_weight_decay_shrinks_matrices_and_nothing_else(rule):
    plain, decayed = FewParameters(), FewParameters()
    for model, weight_decay in ((plain, 0.0), (decayed, 0.5)):
        optimizer = optimizer_of(model, rule, weight_decay)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step(1.0, 0)
    for (name, before), after in zip(plain.named_parameters(), decayed.parameters()):
        factor = 1 - 0.05 * 0.5 if name.startswith("blocks") else 1.0
        torch.testing.assert_close(after, before * factor)
