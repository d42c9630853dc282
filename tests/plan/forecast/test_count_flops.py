"""FLOPs by convention: against headwater's own count, sums by hand, and the relations that the conventions promise."""

from __future__ import annotations

import pytest

from headwater.core.errors import ConfigError
from headwater.model import count as own
from headwater.model.count import count_flops
from headwater.model.settings import ModelSettings
from headwater.runs.library.planning import own_family

SHAPE = {
    **{"vocab_size": 50, "num_layers": 3, "d_model": 32, "d_ff": 40, "num_heads": 4, "num_kv_heads": 4},
    **{"head_dim": 8, "seq_len": 16},
}


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_family_by_name_has_as_many_parameters_as_the_torch_model(family):
    from headwater.model.transformer import Transformer

    model = own_family(family, [f"{name}={value}" for name, value in SHAPE.items()])
    assert own.count_model(model).total == sum(p.numel() for p in Transformer(model).parameters())


def test_hardware_computes_half_of_attentions_scores_again():
    model = own.count_model(ModelSettings(**SHAPE))
    core = 4 * 32 * (16 + 1) / 2 * 3  # scores and sums of values of the keys before, three layers
    assert count_flops(model).hardware == count_flops(model).causal + core / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "family llama needs vocab_size, num_layers; give each with --set NAME=NUMBER"),
        (["d_model"], "has no '='"),
        (["d_modl=64"], "did you mean d_model"),
        ([f"{name}={value}" for name, value in (SHAPE | {"num_heads": 3}).items()], "must be a multiple"),
        ([f"{name}={value}" for name, value in (SHAPE | {"d_model": -1}).items()], "give 1 or more"),
    ],
)
def test_a_family_that_cannot_be_says_why(settings, message):
    with pytest.raises(ConfigError, match=message):
        own_family("llama", settings)
