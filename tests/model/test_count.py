"""Counts from settings alone, against built models, published sizes and sums by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from golden_rows import rows
from made_models import small_settings
from torch.utils.flop_counter import FlopCounterMode

from headwater.model.count import count_model, count_parameters, flops_per_token
from headwater.model.init import initialise_
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer


@pytest.mark.parametrize(("name", "shape", "published"), rows("published_counts"))
def test_count_is_the_published_one(name, shape, published):
    assert count_parameters(ModelSettings(**shape)).total == published


def small_shapes():
    for family, tied, kv_heads in itertools.product(("qwen3", "llama", "gpt2"), (True, False), (4, 2, 1)):
        if family == "gpt2" and kv_heads != 4:
            continue
        head_dim = 8 if family == "gpt2" else 6  # elsewhere heads need not fill the width
        shape = {"num_kv_heads": kv_heads, "head_dim": head_dim, "tied_embeddings": tied, "num_layers": 3, "d_ff": 40}
        yield small_settings(family=family, **shape, attention_bias=family != "gpt2" and kv_heads == 2)


@pytest.mark.parametrize(
    "model",
    list(small_shapes()),
    ids=lambda m: f"{m.family}-{'tied' if m.tied_embeddings else 'untied'}-{m.num_kv_heads}",
)
def test_count_is_that_of_the_built_model(model):
    parameters = dict(Transformer(model).named_parameters())
    count = count_parameters(model)
    assert count.total == sum(parameter.numel() for parameter in parameters.values())
    embeddings = ("embed.weight", "positions.weight")
    assert count.embedding == sum(parameters[name].numel() for name in embeddings if name in parameters)
    multiplied = sum(
        parameter.numel() for name, parameter in parameters.items() if name.startswith("blocks") and parameter.ndim == 2
    )
    assert count.matmul == multiplied + model.vocab_size * model.d_model


def test_flops_of_a_token_are_those_counted_by_hand():
    model = ModelSettings(
        vocab_size=10, num_layers=2, d_model=4, d_ff=6, num_heads=2, num_kv_heads=1, head_dim=2, seq_len=3
    )
    query, key, value, out = 4 * 4, 4 * 2, 4 * 2, 4 * 4
    mlp = 3 * 4 * 6
    weights = 2 * (query + key + value + out + mlp) + 10 * 4  # the head is multiplied by, though it is tied
    # a row of 3 tokens: 1 + 2 + 3 keys seen; scores and sums of values, 2 FLOPs each a head and channel
    attention_of_a_row = 2 * (1 + 2 + 3) * 2 * 2 * (2 + 2)
    forward = 2 * weights + attention_of_a_row / 3
    assert flops_per_token(model) == 3 * forward


@pytest.mark.parametrize("window", [1, 2, 3, 7, 8, 11])
def test_flops_count_the_tokens_that_a_window_shows(window):
    shape = {"num_layers": 1, "d_model": 4, "num_heads": 1, "num_kv_heads": 1, "head_dim": 4}
    model = small_settings(**shape, seq_len=8, sliding_window=window)
    seen = {length: sum(min(t + 1, window) for t in range(length)) / length for length in (8, 4)}
    expected = 6 * count_parameters(model).matmul + 12 * 4 * (0.75 * seen[8] + 0.25 * seen[4])
    assert flops_per_token(model, half_length_fraction=0.25) == pytest.approx(expected)
    assert count_model(model).attention == ((8, window),)


def test_flops_agree_with_torch_counting_a_training_step():
    """Torch counts what is computed; in a row shorter than a block of queries that is the masked half of attention, too."""
    settings = small_settings(vocab_size=64, seq_len=16)
    model = Transformer(settings)
    initialise_(model, 0)
    tokens_BT = torch.arange(32).view(2, 16)
    with FlopCounterMode(display=False) as counter:
        model(tokens_BT, torch.zeros_like(tokens_BT), tokens_BT).backward()
    weights = 6 * count_parameters(settings).matmul * tokens_BT.numel()
    attention_of_whole_rows = 12 * 2 * 4 * 8 * 16 * tokens_BT.numel()
    assert counter.get_total_flops() == weights + attention_of_whole_rows
    causal_share = (16 + 1) / 2 / 16
    assert flops_per_token(settings) * tokens_BT.numel() == weights + attention_of_whole_rows * causal_share


@pytest.mark.parametrize(("change", "message"), rows("a_shape_that_cannot_be_says_which_and_why"))
def test_a_shape_that_cannot_be_says_which_and_why(change, message):
    with pytest.raises(ValueError, match=message):
        small_settings(**{"vocab_size": 50, "d_ff": 40, "seq_len": 16} | change)
