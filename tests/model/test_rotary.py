"""Rotary frequencies of every kind against transformers' own."""

from __future__ import annotations

import pytest
import torch

from headwater.model.rotary import attention_factor, frequencies, rotary_table, rotate
from headwater.model.settings import ModelSettings, RopeScaling

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

LENGTHS = {"factor": 8.0, "original_max_position_embeddings": 256}
KINDS = {
    "llama3": {"rope_type": "llama3", **LENGTHS, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "llama3, other factors": {"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 8192,
                              "low_freq_factor": 0.5, "high_freq_factor": 5.0},
    "yarn": {"rope_type": "yarn", **LENGTHS},
    "yarn, not truncated": {"rope_type": "yarn", **LENGTHS, "truncate": False, "beta_fast": 16.0, "beta_slow": 2.0},
    "yarn, its own factor": {"rope_type": "yarn", **LENGTHS, "factor": 40.0, "attention_factor": 1.25},
}  # fmt: skip


def settings(rope: dict | None, head_dim: int = 64, theta: float = 500_000.0) -> ModelSettings:
    shape = {"d_model": 64, "d_ff": 64, "num_heads": 1, "num_kv_heads": 1, "seq_len": 2048}
    return ModelSettings(
        family="llama", vocab_size=8, num_layers=1, head_dim=head_dim, rope_theta=theta, rope_scaling=rope, **shape
    )


def test_activations_in_bf16_are_turned_by_tables_in_fp32():
    x_BTHK, table_2TP = torch.randn(2, 300, 3, 16).bfloat16(), rotary_table(settings(None, head_dim=16), 300)
    assert torch.equal(rotate(x_BTHK, table_2TP), rotate(x_BTHK.float(), table_2TP).bfloat16())


@pytest.mark.parametrize("head_dim", [16, 64, 128])
@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_and_factor_are_those_of_transformers(kind, theta, head_dim):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = KINDS[kind]
    config = transformers.LlamaConfig(
        head_dim=head_dim, max_position_embeddings=2048, rope_theta=theta, rope_parameters={**rope, "rope_theta": theta}
    )
    if not hasattr(config, "rope_parameters"):  # 4.57
        config = transformers.LlamaConfig(head_dim=head_dim, rope_theta=theta, rope_scaling=rope)
    expected, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")
    ours = frequencies(settings(rope, head_dim, theta))
    torch.testing.assert_close(ours, expected.double(), rtol=3e-6, atol=0)
    assert attention_factor(RopeScaling(**rope)) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"high_freq_factor": 1.0}, "must be above low_freq_factor"), ({"beta_slow": 40.0}, "must be above beta_slow")],
)
def test_limits_that_cross_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        RopeScaling(rope_type="yarn", **LENGTHS, **changes)


@pytest.mark.parametrize("factor", [7.5, 8.001])
def test_positions_that_4_57_would_compute_otherwise_are_refused_before_training(factor):
    words = rf"= {factor:g} × 256 tokens, which must be a whole number and at least seq_len=2048"
    with pytest.raises(ValueError, match=words):
        settings({**KINDS["yarn"], "factor": factor})


def test_a_base_of_one_which_turns_all_pairs_alike_is_refused():
    with pytest.raises(ValueError, match="rope_theta"):
        settings(KINDS["yarn"], theta=1.0)


def test_family_gpt2_has_none_of_it():
    shape = {"d_model": 8, "d_ff": 8, "num_heads": 1, "num_kv_heads": 1, "head_dim": 8, "seq_len": 8, "vocab_size": 8}
    with pytest.raises(ValueError, match="gpt2 has no attention_bias, sliding_window"):
        ModelSettings(family="gpt2", num_layers=1, attention_bias=True, sliding_window=4, **shape)
