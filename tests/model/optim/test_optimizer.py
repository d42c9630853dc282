"""A step of the whole optimizer: every parameter by the rule of its group, on one rank or shared out among several."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from few_parameters import FewParameters
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headwater.core.errors import CheckpointError
from headwater.model.optim.muon import orthogonalise
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings

PARTS = ("matrix", "embedding", "head", "vector")
LRS = dict(zip((f"{part}_lr" for part in PARTS), (0.02, 0.3, 0.04, 0.05)))
OPTIM = OptimSettings(name="muon", **LRS, weight_decay=0.1, momentum=0.9, beta1=0.7, beta2=0.96, eps=1e-8)
FACTORS = [0.5, 1.0, 0.25]


class Exchange:
    """One rank of several in this process, in which every rank has parameters of its own."""

    def __init__(self, rank: int, world_size: int, shared: list[list[list[Tensor]]]) -> None:
        self.rank, self.world_size, self._shared = rank, world_size, shared

    def share_(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        self._shared.append([list(owned) for owned in tensors])


def slopes(step: int, model: FewParameters, missing: str = "") -> None:
    generator = torch.Generator().manual_seed(step)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if name == missing else drawn


def expected(rule: str, missing: str) -> dict[str, Tensor]:
    """Return the parameters after steps of torch's AdamW, and of Muon as it is written (Jordan 2024)."""
    model, momenta = FewParameters(), dict[str, Tensor]()
    lrs = {name: OPTIM.matrix_lr if name.startswith("blocks") else 0.0 for name, _ in model.named_parameters()}
    lrs |= {"embed.weight": 0.3, "head.weight": 0.04, "final_norm.weight": 0.05}
    of_muon = [name for name in lrs if rule == "muon" and name.startswith("blocks")]
    groups = [
        {"params": [parameter], "weight_decay": 0.1 if name.startswith("blocks") else 0.0, "name": name}
        for name, parameter in model.named_parameters()
        if name not in of_muon
    ]
    adamw = torch.optim.AdamW(groups, betas=(0.7, 0.96), eps=1e-8)
    for step, factor in enumerate(FACTORS):
        slopes(step, model, missing)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            if name in of_muon:
                lr, slope = factor * lrs[name], parameter.grad
                momenta[name] = 0.9 * momenta.get(name, torch.zeros_like(slope)) + 0.1 * slope
                ahead = orthogonalise((0.1 * slope + 0.9 * momenta[name])[None])[0]
                rows, columns = slope.shape
                parameter.data = parameter.data * (1 - lr * 0.1) - lr * max(1, rows / columns) ** 0.5 * ahead
        for group in adamw.param_groups:
            group["lr"] = factor * lrs[group["name"]]
        adamw.step()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("missing", ["", "head.weight", "blocks.1.weight"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_steps_are_those_of_torchs_adamw_and_of_muon_as_it_is_written(rule, world_size, missing):
    models, shared = [FewParameters() for _ in range(world_size)], list[list[list[Tensor]]]()
    optim = OPTIM.model_copy(update={"name": rule})
    ranks = [
        Optimizer(model.named_parameters(), optim, ranks=Exchange(rank, world_size, shared))
        for rank, model in enumerate(models)
    ]
    states = [rank.state_tensors().keys() for rank in ranks]
    assert sum(map(len, states)) == len(set().union(*states)), "each is kept by one rank"
    for step, factor in enumerate(FACTORS):
        shared.clear()
        for model, rank in zip(models, ranks):
            slopes(step, model, missing)
            rank.step(factor, step)
            rank.zero_grad()
            assert all(parameter.grad is None for parameter in model.parameters())
        with torch.no_grad():
            for owner in range(world_size):
                for taker in range(world_size):
                    for source, target in zip(shared[owner][owner], shared[taker][owner], strict=True):
                        target.copy_(source)
    for model in models:
        for name, true in expected(rule, missing).items():
            found = dict(model.named_parameters())[name].detach()
            torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")


def test_a_state_is_that_of_the_parameters_or_is_refused():
    model = FewParameters()
    optimizer = Optimizer(model.named_parameters(), OPTIM)
    shapes = {name: tuple(tensor.shape) for name, tensor in optimizer.state_tensors().items()}
    assert shapes.keys() == {
        *(f"blocks.{number}.weight.momentum" for number in range(3)),
        *(f"{name}.weight.{slot}" for name in ("embed", "head", "final_norm") for slot in ("mean", "square")),
    }
    optimizer.require_state(shapes)
    for wrong in (shapes | {"head.weight.mean": (1, 1)}, shapes | {"more": (1,)}, dict(list(shapes.items())[1:])):
        (name,) = dict(wrong.items() ^ shapes.items())
        with pytest.raises(CheckpointError, match=f"doesn't fit this run: \\['{name}'\\] differ"):
            optimizer.require_state(wrong)
    with pytest.raises(CheckpointError, match=r"\['(\S+, ){3}\S+'\] differ"):
        optimizer.require_state({})


def test_what_is_forgotten_is_as_before_the_first_step():
    model = FewParameters()
    optimizer = Optimizer(model.named_parameters(), OPTIM)
    slopes(0, model)
    optimizer.step(1.0, 0)
    assert all(tensor.any() for tensor in optimizer.state_tensors().values())
    optimizer.forget()
    assert not any(tensor.any() for tensor in optimizer.state_tensors().values())


@settings(max_examples=20)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), most=st.integers(8, 20), rate=st.floats(0.001, 1))
def test_blocks_of_a_matrix_are_made_orthogonal_each_by_itself(rows, columns, most, rate):
    """With Muon's blocks in the settings, an update of zero weights is -rate × sqrt(max(1, rows/columns)) × blocks."""
    parameter = torch.nn.Parameter(torch.zeros(rows, columns))
    parameter.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))
    optim = OPTIM.model_copy(update={"block_rows": most})
    Optimizer([("blocks.weight", parameter)], optim).step(rate, 0)
    side = min(rows, columns)
    divisors = [size for size in range(1, min(side, most) + 1) if side % size == 0]
    size = divisors[-1] if side <= most or 4 * divisors[-1] >= most else side
    blocks = parameter.grad.split(size, 0 if rows <= columns else 1)
    whole = torch.cat([orthogonalise(block[None])[0] for block in blocks], 0 if rows <= columns else 1)
    true = -rate * 0.02 * max(1, rows / columns) ** 0.5 * whole
    torch.testing.assert_close(parameter.detach(), true, rtol=2e-3, atol=1e-4)
