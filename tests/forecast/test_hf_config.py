"""Counts from a config.json, against transformers' own models (built without memory) and published sizes."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache

import pytest

from headwater.errors import ConfigError
from headwater.forecast.count import count_params
from headwater.forecast.hf_config import FAMILIES, read_hf_config, shape_of_config

SMALL = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
LATENT = {
    "num_key_value_heads": 6,
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "n_shared_experts": 2,
    "moe_intermediate_size": 20,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
CASES = {
    "llama": {},
    "llama-biases": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"attention_bias": True},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "smollm3": {},
    "phi3": {},
    "gpt2": {"n_embd": 48, "n_layer": 4, "n_head": 6, "n_inner": None, "n_positions": 64},
    "gpt_neox": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 24, "decoder_sparse_step": 2, "mlp_only_layers": [1]},
    "qwen3_moe": EXPERTS,
    "olmoe": {"num_experts": 6, "num_experts_per_tok": 2},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT | {"q_lora_rank": None},
}
HAS_NO_HEAD_DIM = {"olmo", "olmo2", "olmo3", "olmoe", "phi3", "qwen2", "smollm3", "gpt2", "gpt_neox", "qwen2_moe"}


SWITCHES = ("tie_word_embeddings", "attention_bias", "mlp_bias", "qkv_bias", "use_sliding_window")


def built_config(family, settings):
    """Return transformers' configuration with these settings, and the parameters of its model, made without memory."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(family, **settings)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return config, sum(parameter.numel() for parameter in model.parameters())


def settings_of(name):
    """Return the settings of a case's small model."""
    family = name.split("-")[0]
    sizes = {} if family == "gpt2" else dict(SMALL)
    if family in HAS_NO_HEAD_DIM or family.startswith("deepseek"):
        sizes.pop("head_dim", None)
    return sizes | CASES[name]


@cache
def written_config(name):
    """Return what transformers writes for a small model of this case, its class's defaults, and its parameters."""
    config, built = built_config(name.split("-")[0], settings_of(name))
    written, usual = (json.loads(each.to_json_string(use_diff=False)) for each in (config, type(config)()))
    return written, usual, built


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_count_is_that_of_transformers_model(name):
    config, _, built = written_config(name)
    assert count_params(shape_of_config(config)).total == built


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_count_without_switches_at_their_defaults_is_the_same(name):
    """A file written with `use_diff`, as models are saved, may omit what its class would set anyway."""
    config, usual, built = written_config(name)
    short = {key: value for key, value in config.items() if key not in SWITCHES or value != usual.get(key)}
    assert count_params(shape_of_config(short)).total == built


HEADS_THAT_ALL_DIVIDE = {"hidden_size": 128, "num_attention_heads": 32, "num_key_value_heads": 4}


def legal_changes(family):
    """Yield settings that a legal file may have: each switch of the class on and off, each size omitted."""
    transformers = pytest.importorskip("transformers")
    usual = type(transformers.AutoConfig.for_model(family))()
    base = {"vocab_size": 96} | settings_of(family)
    if "num_attention_heads" in base:
        base |= HEADS_THAT_ALL_DIVIDE
    if family.startswith("deepseek"):
        base["num_key_value_heads"] = 32
    for switch in SWITCHES:
        if hasattr(usual, switch):
            yield from (base | {switch: value} for value in (True, False))
    for left_out in [*base, "nothing"]:
        yield {name: value for name, value in base.items() if name != left_out}
    for nothing in ("num_key_value_heads", "q_lora_rank", "sliding_window", "layer_types", "no_rope_layers"):
        if hasattr(usual, nothing) and not (family.startswith("deepseek") and nothing == "num_key_value_heads"):
            yield base | {nothing: None}
    if hasattr(usual, "sliding_window"):
        windows = {"sliding_window": 8, "use_sliding_window": True}
        yield base | windows
        yield base | windows | {"max_window_layers": 2}
        yield base | windows | {"max_window_layers": 0}
        yield base | windows | {"layer_types": ["full_attention", "sliding_attention"] * 2}
        yield base | windows | {"sliding_window_pattern": 2, "no_rope_layer_interval": 2}


def windows_of(config):
    """Return the window of each layer as transformers' models use it."""
    window = getattr(config, "sliding_window", None) or None
    types = getattr(config, "layer_types", None) if config.model_type not in LAYERS_ALIKE else None
    return [
        window if types is None or types[i] == "sliding_attention" else None for i in range(config.num_hidden_layers)
    ]


LAYERS_ALIKE = {"mistral", "mixtral", "phi3", "qwen3_moe"}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_legal_file_counts_as_transformers_does_or_says_what_it_lacks(family):
    num_same = 0
    for settings in legal_changes(family):
        try:
            config, built = built_config(family, settings)
        except Exception:
            continue
        try:
            shape = shape_of_config({"model_type": family, **settings})
        except ConfigError as error:
            assert "needed and missing" in str(error), (settings, error)
            continue
        assert count_params(shape).total == built, settings
        assert [layer.window for layer in shape.layers] == windows_of(config), settings
        num_same += 1
    assert num_same >= 4


def test_every_family_is_compared():
    assert {name.split("-")[0] for name in CASES} == set(FAMILIES)


LLAMA_3 = {
    "model_type": "llama",
    "vocab_size": 128256,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
# sizes as published in each model's config.json; totals from model cards or the sum of the weights' files
PUBLISHED = {
    "llama-3-70b": (
        LLAMA_3 | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
        70_553_706_496,
        None,
    ),
    "mixtral-8x7b": (
        {
            "model_type": "mixtral",
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
        46_702_792_704,
        12.9e9,
    ),
    "qwen3-30b-a3b": (
        {
            "model_type": "qwen3_moe",
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "moe_intermediate_size": 768,
            "num_hidden_layers": 48,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "tie_word_embeddings": False,
        },
        30_532_122_624,
        3.3e9,
    ),
    "deepseek-v3": (
        {
            "model_type": "deepseek_v3",
            "vocab_size": 129280,
            "hidden_size": 7168,
            "intermediate_size": 18432,
            "moe_intermediate_size": 2048,
            "num_hidden_layers": 61,
            "num_attention_heads": 128,
            "num_key_value_heads": 128,
            "n_shared_experts": 1,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "q_lora_rank": 1536,
            "kv_lora_rank": 512,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
            "first_k_dense_replace": 3,
        },
        671_026_404_352,
        37e9,
    ),
    "gemma-2b": (
        {
            "model_type": "gemma",
            "vocab_size": 256000,
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 18,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
        },
        2_506_172_416,
        None,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_count_is_the_published_one(name):
    config, total, active = PUBLISHED[name]
    params = count_params(shape_of_config(config))
    assert params.total == total
    if active is not None:
        assert params.active == pytest.approx(active, rel=0.02)


def test_the_text_part_of_a_model_with_pictures_is_counted():
    config = {"model_type": "gemma3", "text_config": PUBLISHED["gemma-2b"][0]}
    assert count_params(shape_of_config(config)).total == 2_506_172_416


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' is none of those"),
        ({"model_type": ["llama"]}, "is none of those"),
        ({"hidden_size": None}, "hidden_size is needed and missing"),
        ({"hidden_size": -4096}, "hidden_size=-4096 must be a whole number of at least 1"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers='32' must be a whole number"),
        ({"num_attention_heads": 7}, "must be a multiple of"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings='yes' must be true or false"),
        ({"mlp_only_layers": 3}, "mlp_only_layers=3 must be a list of whole numbers"),
        ({"mlp_only_layers": [[1]]}, r"mlp_only_layers=\[\[1\]\] must be a list of whole numbers"),
        (
            {"model_type": "gemma3_text", "sliding_window": 64, "sliding_window_pattern": "abc"},
            "sliding_window_pattern='abc' must be a whole number",
        ),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok=9 is more than the 8 experts"),
    ],
)
def test_a_configuration_that_cannot_be_says_why(change, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["mixtral-8x7b"][0] | change))
    with pytest.raises(ConfigError, match=r"config\.json: .*" + message):
        read_hf_config(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", ["abc", -1, 2.5, True, [[1]], {"a": 1}], ids=repr)
def test_no_value_of_a_wrong_kind_is_a_fault_of_ours(family, value):
    config = {"model_type": family, "n_embd": 48, "n_layer": 4, "n_head": 6, "sliding_window": 8} | SMALL | LATENT
    config |= EXPERTS | dict.fromkeys((*SWITCHES, "n_inner", "n_positions", "layer_types", "mlp_only_layers"))
    config |= dict.fromkeys(("sliding_window_pattern", "decoder_sparse_step", "shared_expert_intermediate_size"))
    assert count_params(shape_of_config(config)).total
    for name in config:
        with suppress(ConfigError):
            shape_of_config(config | {name: value})


@pytest.mark.parametrize("text", ["", "[]", "{", '"llama"', "\xff"])
def test_what_is_no_configuration_says_so(text, tmp_path):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"not valid JSON|no JSON object"):
        read_hf_config(tmp_path)


def test_a_folder_without_configuration_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json; name a folder"):
        read_hf_config(tmp_path)
