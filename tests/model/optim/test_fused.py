"""The optimizer's fused passes, run on a processor, against plain ones, and against double precision.

torch's fused AdamW computes on a processor what it computes on a GPU, by other code: what is tested here is what we ask.
"""

from __future__ import annotations

import pytest
import torch
from few_parameters import FewParameters
from host_waits import HostWaits

from headwater.machine.compute import MachineFacts, fastest_updates
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import AdamW, FusedUpdates, PlainUpdates

SHAPES = [(7,), (5, 3), (1, 1), (33, 65)]
ADAMW = {"lr": 0.03, "beta1": 0.8, "beta2": 0.95, "eps": 1e-10, "weight_decay": 0.1}


def tensors(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator) for shape in SHAPES]


def adamw_in_double(updates: list[list[torch.Tensor]], lrs: list[float]) -> list[torch.Tensor]:
    """Return parameters after updates by `gradients`, as Loshchilov and Hutter write it (arXiv:1711.05101)."""
    found = []
    for index, parameter in enumerate(tensors(0)):
        x, mean, square = parameter.double(), 0.0, 0.0
        for step, (gradients, lr) in enumerate(zip(updates, lrs), start=1):
            g = gradients[index].double()
            mean, square = 0.8 * mean + 0.2 * g, 0.95 * square + 0.05 * g**2
            x = x - lr * 0.1 * x
            x = x - lr * (mean / (1 - 0.8**step)) / ((square / (1 - 0.95**step)).sqrt() + 1e-10)
        found.append(x)
    return found


@pytest.mark.parametrize("updates", [FusedUpdates(), PlainUpdates()])
def test_ten_updates_are_adamws(updates):
    parameters, means, squares = tensors(0), *([torch.zeros(shape) for shape in SHAPES] for _ in range(2))
    gradients = [tensors(step, 10.0 ** (step - 5)) for step in range(1, 11)]
    lrs = [0.03 * step / 10 for step in range(1, 11)]
    for step in range(10):
        numbers = ADAMW | {"lr": lrs[step]}
        updates.adamw_(parameters, gradients[step], means, squares, AdamW(step + 1, **numbers))
    for ours, true in zip(parameters, adamw_in_double(gradients, lrs)):
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muons_passes_are_the_plain_ones_to_the_bit(dtype):
    generator = torch.Generator().manual_seed(0)
    matrices = [[torch.randn(6, 10, generator=generator) for _ in range(3)] for _ in range(3)]
    results = []
    for updates in (FusedUpdates(), PlainUpdates()):
        parameters, gradients, momenta = ([one.clone() for one in group] for group in matrices)
        ahead_NRC = updates.nesterov_(gradients, momenta, 0.95, dtype)
        gram_NRR = updates.symmetric_product(ahead_NRC)
        mixed_NRR = updates.symmetric_product(gram_NRR, 0.3, gram_NRR, -2.0)
        updates.descend_(parameters, ahead_NRC, keep=0.99, rate=0.02)
        assert ahead_NRC.dtype == dtype
        assert all(torch.equal(one, before) for one, before in zip(gradients, matrices[1]))
        results.append([*parameters, *momenta, ahead_NRC, gram_NRR, mixed_NRR])
    assert all(torch.equal(ours, plain) for ours, plain in zip(*results, strict=True))


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_an_optimizer_takes_the_same_way_and_the_host_waits_for_nothing(rule):
    settings = OptimSettings(
        name=rule, matrix_lr=0.02, embedding_lr=0.02, head_lr=0.02, vector_lr=0.02, weight_decay=0.1
    )
    models = [FewParameters(), FewParameters()]
    for model, updates in zip(models, (FusedUpdates(), PlainUpdates())):
        optimizer = Optimizer(model.named_parameters(), settings, torch.float32, updates)
        for step in range(6):
            sum((parameter * parameter).sum() for parameter in model.parameters()).backward()
            model.blocks[0].weight.grad = model.blocks[0].weight.grad.T.contiguous().T  # a gradient laid out otherwise
            with HostWaits() as waits:
                optimizer.step(1 / (1 + step), step)
            optimizer.zero_grad()
            assert waits.count == 0
    for ours, plain in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("device", "kind"), [("cuda", FusedUpdates), ("cpu", PlainUpdates)])
def test_a_gpu_gets_them_and_a_processor_without_kernels_does_not(device, kind):
    facts = MachineFacts(device, "made up", "float32", False, 1, 1e9, "2", "")
    assert type(fastest_updates(facts)) is kind
