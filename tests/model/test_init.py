"""Every parameter is initialised, by its name and the seed alone."""

from __future__ import annotations

import math

import pytest
import torch
from made_models import small_settings
from torch import nn

from headwater.model.init import derived_seed, initial_value, initialise_
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

FAMILIES = ["qwen3", "llama", "gpt2"]


def settings(family: str, *, tied: bool = True, num_layers: int = 2) -> ModelSettings:
    shape = {"d_model": 64, "num_kv_heads": 4, "head_dim": 16, "num_layers": num_layers, "tied_embeddings": tied}
    return small_settings(family=family, vocab_size=211, d_ff=96, seq_len=12, **shape)


def initialised(family: str, seed: int = 0, **shape) -> Transformer:
    model = Transformer(settings(family, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    initialise_(model, seed)
    return model


def test_a_parameter_without_a_rule_is_an_error():
    model = Transformer(settings("qwen3"))
    model.blocks[0].attention.gizmo = nn.Linear(2, 2, bias=False)
    with pytest.raises(AssertionError, match=r"blocks\.0\.attention\.gizmo\.weight"):
        initialise_(model, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_starts_as_the_identity(family):
    model = initialised(family)
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in ("out", "down"):
            assert not parameter.any(), name
    x_BTD = torch.randn(2, 5, 64)
    table = None if family == "gpt2" else model.rotary_2TP[:, :5]
    assert torch.equal(model.blocks[0](x_BTD, torch.zeros(2, 5, dtype=torch.int64), table), x_BTD)


@pytest.mark.parametrize("width", [64, 256, 1024])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_near_that_of_a_uniform_guess_at_every_width(family, tied, width):
    shape = {"num_layers": 1, "d_model": width, "d_ff": 64, "num_heads": 4, "num_kv_heads": 4, "head_dim": width // 4}
    model = Transformer(ModelSettings(family=family, vocab_size=2048, seq_len=64, tied_embeddings=tied, **shape))
    initialise_(model, 0)
    tokens_BT, targets_BT = torch.randint(0, 2048, (2, 4, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = model(tokens_BT, torch.zeros_like(tokens_BT), targets_BT) / targets_BT.numel()
    assert float(loss) == pytest.approx(math.log(2048), abs=0.05)


def test_matrices_that_read_the_stream_have_the_stated_spread():
    model = initialised("qwen3")
    for name in ("query", "key", "value"):
        weight = getattr(model.blocks[0].attention, name).weight
        assert float(weight.detach().std()) == pytest.approx(64**-0.5, rel=0.05)
        assert float(weight.detach().abs().max()) <= (3 / 64) ** 0.5
    assert float(model.embed.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_derived_seeds_differ_by_each_part_and_are_the_same_everywhere():
    assert derived_seed(0, "init", "embed.weight") == 2960581899765506490
    parts = [(0, "a"), (1, "a"), (0, "b"), (0, "a", ""), (0, "a", 0), ("0a",), (0, "a\0b"), (10, "a")]
    seeds = [derived_seed(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_made_without_memory_starts_as_another(family, tied):
    usual = initialised(family, tied=tied)
    with torch.device("meta"):
        model = Transformer(settings(family, tied=tied))
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(math.nan)
    initialise_(model, 0)
    for ours, theirs in (
        (model.named_parameters(), usual.named_parameters()),
        (model.named_buffers(), usual.named_buffers()),
    ):
        for (name, one), (_, other) in zip(ours, theirs, strict=True):
            assert torch.equal(one, other), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_part_of_a_parameter_has_the_bits_that_it_has_in_the_whole(family, tied):
    for name, parameter in initialised(family, tied=tied).named_parameters():
        part = tuple(slice(size // 3, 2 * size // 3 + 1) for size in parameter.shape)
        assert torch.equal(initial_value(name, parameter.shape, 0, tied=tied, part=part), parameter[part]), name
