"""The kernels' passes of the optimizer against the plain ones and torch's, and that a changed weight is seen to change."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

import pytest
import torch
from exact import DTYPES, random
from operations import OfInt8, OfKernels, built
from torch import nn

from headwater.model.init import initialise_
from headwater.model.kernels.library import KernelError
from headwater.model.kernels.updates import KernelUpdates
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import AdamW, PlainUpdates
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

SHAPES = [(7,), (5, 3), (1, 1), (71, 67)]  # the last is more than one piece of 2048 numbers


@pytest.fixture(params=[1, 2])
def updates(library, request) -> KernelUpdates:
    return KernelUpdates(library, num_threads=request.param)


def tensors(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    return [random(*shape, seed=seed, scale=scale) for shape in SHAPES]


@pytest.mark.parametrize(("betas", "error"), [((0.8, 0.95), 2e-6), ((0.9, 0.999), 2e-6)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_ten_updates_of_adamw_are_torchs_and_the_plain_ones(updates, betas, error, weight_decay):
    ours, plain = tensors(0), tensors(0)
    theirs = [tensor.clone().requires_grad_() for tensor in ours]
    state, plain_state = ([[torch.zeros_like(x) for x in ours] for _ in range(2)] for _ in range(2))
    optimizer = torch.optim.AdamW(theirs, lr=1e-2, betas=betas, eps=1e-8, weight_decay=weight_decay)
    for step in range(1, 11):
        lr = 1e-2 * step / 10
        gradients = tensors(step, scale=10.0 ** (step - 5))
        for parameter, gradient in zip(theirs, gradients):
            parameter.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        numbers = {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": 1e-8, "weight_decay": weight_decay}
        updates.adamw_(ours, gradients, *state, AdamW(step, **numbers))
        PlainUpdates().adamw_(plain, gradients, *plain_state, AdamW(step, **numbers))
        for own, plain_one, its in zip(ours, plain, theirs):
            torch.testing.assert_close(own, its.detach(), rtol=error, atol=1e-2 * error)
            torch.testing.assert_close(own, plain_one, rtol=error, atol=1e-2 * error)
    for own, plain_one in zip(chain(*state), chain(*plain_state)):
        torch.testing.assert_close(own, plain_one, rtol=5 * error, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (71, 67)])
def test_nesterovs_gradients_and_descending_are_the_plain_ones(updates, dtype, shape):
    ours, plain = ([random(*shape, seed=seed) for seed in (1, 2, 3)] for _ in range(2))
    momenta, plain_momenta = ([torch.zeros(shape) for _ in range(3)] for _ in range(2))
    for step in range(4):
        gradients = [random(*shape, seed=10 * step + seed) for seed in range(3)]
        ahead = updates.nesterov_(gradients, momenta, 0.95, dtype)
        plain_ahead = PlainUpdates().nesterov_(gradients, plain_momenta, 0.95, dtype)
        assert ahead.dtype == dtype
        torch.testing.assert_close(ahead, plain_ahead, rtol=1e-5 if dtype == torch.float32 else 2.0**-7, atol=1e-6)
        torch.testing.assert_close(momenta, plain_momenta, rtol=1e-5, atol=1e-6)
        updates.descend_(ours, plain_ahead, keep=0.99, rate=0.3)
        PlainUpdates().descend_(plain, plain_ahead, keep=0.99, rate=0.3)
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_slopes_and_directions_may_be_views(updates):
    gradient, momentum, parameter = random(6, 5).T, torch.zeros(5, 6), random(5, 6, seed=1)
    ahead = updates.nesterov_([gradient], [momentum], 0.5, torch.float32)
    torch.testing.assert_close(ahead[0], 0.75 * gradient)
    expected = parameter - gradient
    updates.descend_([parameter], gradient[None], keep=1.0, rate=1.0)
    torch.testing.assert_close(parameter, expected)


def test_updates_give_the_same_bits_for_any_number_of_threads(library):
    found = []
    for num_threads in (1, 1, 2, 3):
        updates, parameters, state = KernelUpdates(library, num_threads), tensors(0), [tensors(1), tensors(2)]
        state[1] = [tensor.abs() for tensor in state[1]]
        numbers = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-10, "weight_decay": 0.1}
        updates.adamw_(parameters, tensors(3), *state, AdamW(5, **numbers))
        ahead = updates.nesterov_(tensors(4)[-1:], state[0][-1:], 0.95, torch.bfloat16)
        updates.descend_(parameters[-1:], ahead, keep=0.9, rate=0.1)
        found.append([*parameters, *state[0], *state[1], ahead])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other))


# ---- a weight that has been updated is copied again

SHAPE = ModelSettings(
    vocab_size=40, num_layers=1, d_model=32, d_ff=48, num_heads=2, num_kv_heads=1, head_dim=16, seq_len=12,
    tied_embeddings=False,
)  # fmt: skip


def loss_of(model: Transformer) -> torch.Tensor:
    tokens_BT = torch.arange(24).view(2, 12)
    return model(tokens_BT, torch.zeros_like(tokens_BT), tokens_BT + 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_a_model_computes_with_the_weights_it_has_after_each_update(library, rule, dtype):
    model = built(SHAPE, dtype, OfKernels(library, 1))
    initialise_(model, 0)
    optim = OptimSettings(name=rule, matrix_lr=0.02, embedding_lr=0.05, head_lr=0.05, vector_lr=0.05, weight_decay=0.1)
    optimizer = Optimizer(model.named_parameters(), optim, dtype, KernelUpdates(library, 1))
    losses = []
    for step in range(3):
        loss = loss_of(model)
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step(1.0, step)
        optimizer.zero_grad()
        fresh = built(SHAPE, dtype, OfKernels(library, 1))
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(loss_of(model), loss_of(fresh)), "the model still computes with weights of before"
    assert losses[0] > losses[1] > losses[2]


def copy_in_place(model: Transformer, weights: dict[str, torch.Tensor]) -> None:
    model.load_state_dict(weights)


def replace_parameters(model: Transformer, weights: dict[str, torch.Tensor]) -> None:
    model.load_state_dict({name: weight.clone() for name, weight in weights.items()}, assign=True)


def swap_data(model: Transformer, weights: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.data = weights[name].clone()


def copy_without_a_trace(model: Transformer, weights: dict[str, torch.Tensor]) -> None:
    """As FSDP2 gathers its shards: the version that autograd counts stays."""
    for name, parameter in model.named_parameters():
        with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(parameter):
            parameter.copy_(weights[name])


CHANGES = [copy_in_place, replace_parameters, swap_data, copy_without_a_trace]


@pytest.mark.parametrize("ops", [OfKernels, OfInt8])
@pytest.mark.parametrize("change", CHANGES)
def test_a_model_never_computes_with_weights_that_it_no_longer_has(library, change, ops):
    first, second = (built(SHAPE, torch.bfloat16, ops(library, 1)) for _ in range(2))
    for seed, model in enumerate((first, second)):
        initialise_(model, seed)
    assert not torch.equal(loss_of(first), loss_of(second))
    change(first, second.state_dict())
    with torch.no_grad():
        assert torch.equal(loss_of(first), loss_of(second))
    assert torch.equal(loss_of(first), loss_of(second))


FULLY_SHARDED = """
import tempfile
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from headwater.model.kernels.convert import convert_
from headwater.model.init import initialise_
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

dist.init_process_group("gloo", init_method=f"file://{tempfile.mkdtemp()}/store", rank=0, world_size=1)
torch.set_num_threads(1)
shape = ModelSettings(
    vocab_size=61, num_layers=2, d_model=48, d_ff=72, num_heads=3, num_kv_heads=3, head_dim=16, seq_len=45,
    tied_embeddings=False,
)
tokens_BT = torch.arange(45)[None]
for dtype in (None, "bfloat16", "int8"):
    model = Transformer(shape, torch.bfloat16)
    if dtype is not None:
        convert_(model, 1, dtype)
    initialise_(model, 0)
    for block in [*model.blocks, model]:
        fully_shard(block)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(6):
        loss = model(tokens_BT, torch.zeros_like(tokens_BT), tokens_BT + 1) / 45
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(float(loss.detach()))
"""


def test_fully_sharded_weights_train_as_with_plain_operations(library):
    command = [sys.executable, "-c", FULLY_SHARDED]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
    plain, ours, rounded = map(float, said.split())
    assert plain < 3, "nothing was learned"
    assert ours == pytest.approx(plain, rel=0.01)
    assert rounded == pytest.approx(plain, rel=0.03)


def test_tensors_of_several_processes_are_refused(library):
    class Spread(torch.Tensor):  # as a DTensor, which takes processes to make
        placements = ()

    model = built(SHAPE, torch.bfloat16, OfKernels(library, 1))
    initialise_(model, 0)
    down = model.blocks[0].mlp.down
    down.weight = nn.Parameter(down.weight.detach().as_subclass(Spread))
    with pytest.raises(KernelError, match="read plain tensors and found a Spread"):
        loss_of(model)


@pytest.mark.parametrize("name", ["adamw_", "descend_"])
def test_an_update_between_forward_and_backward_is_refused(updates, library, name):
    """As in plain PyTorch: the backward pass would use other weights than the forward pass."""
    model = built(SHAPE, torch.float32, OfKernels(library, 1))
    initialise_(model, 0)
    loss = loss_of(model)
    weights = [model.blocks[0].attention.out.weight]
    with torch.no_grad():
        if name == "adamw_":
            numbers = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-10, "weight_decay": 0.1}
            zeros = [[torch.zeros_like(weights[0])] for _ in range(3)]
            updates.adamw_(weights, *zeros, AdamW(1, **numbers))
        else:
            updates.descend_(weights, torch.ones(1, *weights[0].shape), keep=1.0, rate=0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
