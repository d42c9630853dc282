"""Counts of any shape: against headwater's own, sums by hand, and the relations that the conventions promise."""

from __future__ import annotations

import itertools

import pytest

from headwater.errors import ConfigError
from headwater.forecast.count import RECOMPUTES, count_flops, count_params, keys_seen
from headwater.forecast.family import shape_of_family
from headwater.forecast.shape import Experts, GroupedAttention, LatentAttention, Layer, Matrix, Mlp, Shape, shape_of
from headwater.model import count as own
from headwater.model.settings import ModelSettings

SHAPE = {
    "vocab_size": 50,
    "num_layers": 3,
    "d_model": 32,
    "d_ff": 40,
    "num_heads": 4,
    "num_kv_heads": 4,
    "head_dim": 8,
    "seq_len": 16,
}


@pytest.mark.parametrize(("family", "tied"), list(itertools.product(("gpt2", "llama", "qwen3"), (True, False))))
def test_our_own_families_count_as_the_model_itself_does(family, tied):
    model = ModelSettings(family=family, tied_embeddings=tied, **SHAPE)
    params, expected = count_params(shape_of(model)), own.count_parameters(model)
    assert (params.total, params.embedding, params.matmul) == (expected.total, expected.embedding, expected.matmul)
    assert count_flops(shape_of(model)).causal == own.flops_per_token(model)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_family_by_name_has_as_many_parameters_as_the_torch_model(family):
    from headwater.model.transformer import Transformer

    settings = [f"{name}={value}" for name, value in SHAPE.items()]
    tied = family == "gpt2"  # by the rules of a run
    built = sum(
        p.numel() for p in Transformer(ModelSettings(family=family, tied_embeddings=tied, **SHAPE)).parameters()
    )
    assert count_params(shape_of_family(family, settings)).total == built


def test_both_vocabularies_of_settings_mean_the_same():
    ours = ["vocab_size=50", "num_layers=3", "d_model=32", "d_ff=40", "num_heads=4", "num_kv_heads=2"]
    theirs = ["vocab_size=50", "num_hidden_layers=3", "hidden_size=32", "intermediate_size=40", "num_attention_heads=4"]
    theirs += ["num_key_value_heads=2"]
    for family, tied in (("llama", "tied_embeddings=true"), ("mixtral", "tie_word_embeddings=false")):
        experts = ["num_local_experts=4", "num_experts_per_tok=2"] if family == "mixtral" else []
        one = shape_of_family(family, [*ours, *experts, tied])
        other = shape_of_family(family, [*theirs, *experts, tied])
        assert count_params(one) == count_params(other)


def test_usual_shapes_need_not_be_said():
    shape = shape_of_family("gpt2", ["vocab_size=50257", "num_layers=12", "d_model=768", "num_heads=12"])
    assert count_params(shape).total == 124_439_808


def moe(num_active: int) -> Shape:
    layer = Layer(GroupedAttention(4, 2, 8), Experts(8, num_active, 16, 24), 64, window=5)
    return Shape(vocab_size=100, d_model=32, seq_len=12, layers=(layer,) * 2, is_tied=False, num_end_values=32)


def test_flops_of_a_mixture_are_those_counted_by_hand():
    attention = 32 * 32 * 2 + 2 * 32 * 16
    router, expert, shared = 32 * 8, 3 * 32 * 16, 3 * 32 * 24
    multiplied = 2 * (attention + router + 3 * expert + shared) + 100 * 32
    seen = sum(min(position + 1, 5) for position in range(12)) / 12
    core = 2 * 2 * 4 * (8 + 8) * seen
    assert count_params(moe(3)).matmul == multiplied
    assert count_flops(moe(3)).causal == pytest.approx(6 * multiplied + 3 * core)
    assert count_params(moe(3)).total - count_params(moe(3)).active == 2 * 5 * expert


def test_all_experts_taken_is_a_dense_model():
    params = count_params(moe(8))
    assert params.total == params.active


def test_latent_attention_has_the_matrices_of_its_paper():
    attention = LatentAttention(num_heads=4, query_rank=12, kv_rank=10, nope_dim=6, rope_dim=2, value_dim=5)
    weights = sum(matrix.weights for matrix in attention.matrices(32))
    assert weights == 32 * 12 + 12 * 4 * 8 + 32 * (10 + 2) + 10 * 4 * (6 + 5) + 4 * 5 * 32


@pytest.mark.parametrize(("seq_len", "window"), [(1, None), (7, None), (7, 3), (7, 7), (7, 100)])
def test_keys_seen_is_the_mean_over_positions(seq_len, window):
    expected = sum(min(position + 1, window or seq_len) for position in range(seq_len)) / seq_len
    assert keys_seen(seq_len, window) == pytest.approx(expected)


def test_full_recomputation_adds_the_blocks_forward_pass():
    shape = shape_of(ModelSettings(**SHAPE))
    flops = {policy: count_flops(shape, policy, is_flash=False).hardware for policy in RECOMPUTES}
    block = 2 * (count_params(shape).matmul - 50 * 32)
    core = 4 * 32 * 16 * 3  # scores and sums of values, whole rows, three layers
    assert flops["selective"] - flops["none"] == core
    assert flops["full"] - flops["none"] == core + block
    assert flops["none"] == count_flops(shape).full_attention  # without flash the masked half is computed


def test_conventions_are_in_the_order_of_what_they_count():
    flops = count_flops(shape_of(ModelSettings(**SHAPE | {"seq_len": 4096})), "full")
    assert flops.six_n < flops.causal < flops.full_attention < flops.palm
    assert flops.causal < flops.hardware < 8 / 6 * 1.2 * flops.causal


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("mamba", [], "no family 'mamba'"),
        ("lama", [], "did you mean llama"),
        ("llama", ["d_model"], "has no '='"),
        ("llama", ["d_model=64"], "family llama needs vocab_size, num_layers; give each"),
        ("llama", ["d_modl=64"], "did you mean d_model"),
        ("llama", [f"{name}={value}" for name, value in (SHAPE | {"num_heads": 3}).items()], "must be a multiple"),
        (
            "qwen3",
            [f"{name}={value}" for name, value in (SHAPE | {"d_model": -1}).items()],
            "greater than or equal to 1",
        ),
        ("mixtral", ["num_local_experts=0"], "must be a whole number"),
        ("mixtral", ["d_model=abc"], "d_model='abc' must be a whole number"),
        ("mixtral", ["d_modl=4"], "no setting 'd_modl'; did you mean d_model?"),
        ("deepseek_v3", ["num_experts=8", "kv_lora_rank=4"], "needs num_heads, qk_nope_head_dim, qk_rope_head_dim,"),
        ("qwen3_moe", ["mlp_only_layers=3"], "mlp_only_layers=3 must be a list"),
        (
            "gpt_neox",
            ["vocab_size=9", "d_model=8", "num_layers=1", "num_heads=2", "vocabsize=7"],
            "no setting 'vocabsize'",
        ),
    ],
)
def test_a_family_that_cannot_be_says_why(family, settings, message):
    with pytest.raises(ConfigError, match=message):
        shape_of_family(family, settings)


def said(family: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        shape_of_family(family, list(settings))
    return str(caught.value)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_a_family_needs_is_one_line_and_nothing_that_a_rule_makes(family):
    assert said(family) == f"family {family} needs vocab_size, num_layers; give each with --set NAME=NUMBER"


def test_a_mixture_of_experts_names_all_it_needs_at_once_in_our_words():
    needed = said("mixtral", "d_model=64", "num_heads=7", "vocab_size=9")
    assert needed == (
        "family mixtral needs num_experts, num_active_experts, expert_d_ff, num_layers; "
        "give each with --set NAME=NUMBER"
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "deepseek_v3", "gpt_neox", "qwen2_moe"])
def test_settings_said_to_be_needed_are_enough(family):
    names = said(family).split(" needs ")[1].split(";")[0].split(", ")
    shape_of_family(family, [f"{name}=64" for name in names])


def test_no_rule_computes_with_a_wrong_value():
    text = said("llama", "num_layers=abc")
    assert text.splitlines()[1] == "  num_layers = 'abc': a number is wanted"
    assert "d_model" not in text


def test_a_matrix_counts_its_copies():
    assert (Matrix(3, 5, 4, 2).weights, Matrix(3, 5, 4, 2).active_weights) == (60, 30)
    assert [matrix.weights for matrix in Mlp(6, 2).matrices(4)] == [24, 24]
