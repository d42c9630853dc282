"""Blocks that are computed again in the backward pass: the same bits, for less memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from tiny_run import MadeUpRows, plan, train_here
from torch.profiler import ProfilerActivity, profile, record_function

from headwater.core.records import read_records
from headwater.model.init import initialise_
from headwater.model.kernels.convert import convert_
from headwater.model.kernels.library import KernelError
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Recompute, Transformer
from headwater.train.settings import recompute_of

NUM_LAYERS = 4


def model_that_recomputes(
    recompute: Recompute, modules: str = "plain", family: str = "qwen3", dtype: torch.dtype = torch.float32
) -> Transformer:
    settings = plan(family=family).model.model_dump() | {"num_layers": NUM_LAYERS}
    model = Transformer(ModelSettings(**settings), dtype, recompute)
    if modules != "plain":
        try:
            convert_(model, 1, "int8" if modules == "int8" else "float32")
        except KernelError as error:
            pytest.skip(str(error))
    initialise_(model, 5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # outputs start at 0, and would hide what lies behind them
        for block in model.blocks:
            for weight in (block.attention.out.weight, block.mlp.down.weight):
                weight.normal_(0, 0.2, generator=generator)
    return model


def summed_loss(model: Transformer) -> torch.Tensor:
    """Return the loss of two microbatches, whose gradients pile up."""
    total = torch.zeros(())
    for first in (0, 2):
        batch = MadeUpRows().rows(first, 2)
        arrays = batch.tokens_BT, batch.documents_BT, batch.targets_BT
        tokens_BT, documents_BT, targets_BT = (torch.from_numpy(array).long() for array in arrays)
        loss = model(tokens_BT, documents_BT, targets_BT)
        loss.backward()
        total += loss.detach()
    return total


@pytest.mark.parametrize(
    ("family", "modules", "dtype"),
    [
        ("qwen3", "plain", torch.float32),
        ("llama", "plain", torch.bfloat16),
        ("gpt2", "plain", torch.float32),
        ("qwen3", "kernels", torch.float32),
        ("qwen3", "kernels", torch.bfloat16),
        ("gpt2", "kernels", torch.float32),
        ("qwen3", "int8", torch.bfloat16),
    ],
)
def test_loss_and_every_gradient_have_the_same_bits(family, modules, dtype):
    kept = model_that_recomputes(0, modules, family, dtype)
    loss = summed_loss(kept)
    gradients = {name: parameter.grad for name, parameter in kept.named_parameters()}
    assert all(gradient.abs().max() > 0 for name, gradient in gradients.items() if not name.endswith("key.bias"))
    for recompute in (1, 3, NUM_LAYERS, "selective"):
        again = model_that_recomputes(recompute, modules, family, dtype)
        assert torch.equal(summed_loss(again), loss)
        assert not [name for name, p in again.named_parameters() if not torch.equal(p.grad, gradients[name])]


def kept_bytes(model: Transformer) -> int:
    """Return the bytes by which a forward pass leaves more allocated than before it."""
    batch = MadeUpRows().rows(0, 64)
    tokens_BT, documents_BT = (torch.from_numpy(array).long() for array in (batch.tokens_BT, batch.documents_BT))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured, record_function("the pass"):
        x_BTD = model.hidden(tokens_BT, documents_BT)
    assert x_BTD.requires_grad
    (passed,) = (event for event in measured.events() if event.name == "the pass")
    return passed.cpu_memory_usage


@pytest.mark.parametrize("modules", ["plain", "kernels"])
def test_every_block_that_is_computed_again_keeps_less_and_products_alone_save_a_quarter(modules):
    *sizes, selective = (
        kept_bytes(model_that_recomputes(recompute, modules)) for recompute in (*range(NUM_LAYERS + 1), "selective")
    )
    saved = [more - less for more, less in pairwise(sizes)]
    assert min(saved) > 0.1 * sizes[0], sizes
    assert sizes[-1] < 0.3 * sizes[0], sizes
    assert sizes[-1] < 0.8 * selective and selective < 0.75 * sizes[0], (sizes, selective)


@pytest.mark.parametrize("value", [-0.1, 1.5, True, "products", "0.5"])
def test_what_is_recomputed_is_a_fraction_selective_or_auto(value):
    with pytest.raises(ValidationError, match="a fraction of the blocks, 0 to 1, selective or auto"):
        plan(recompute=value)
    assert recompute_of(plan(recompute="selective").train, NUM_LAYERS) == "selective"


def test_a_run_may_go_on_with_more_or_fewer_blocks_computed_again_and_ends_the_same(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_here(whole, plan(num_steps=4))
    train_here(parts, plan(num_steps=4, recompute="selective"), stop_after=1)
    run = train_here(parts, plan(num_steps=4, recompute=0.5))
    assert run.prepared.model.blocks.recompute == 1
    ours, theirs = (
        [record["loss"] for record in read_records(folder / "records.jsonl", "step")] for folder in (parts, whole)
    )
    assert ours == theirs
