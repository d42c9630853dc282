"""Counts of models that transformers builds: published sizes, counts by hand, FLOPs by torch's own counter."""

from __future__ import annotations

import json
import sys

import pytest
from golden_rows import rows

from headwater.core.errors import ConfigError
from headwater.model.count import count_flops
from headwater.model.hf_count import count_hf_family, count_hf_file

# as published in each model's config.json; totals from model cards or the sum of the weights' files
LLAMA_3_8B = {
    "model_type": "llama",
    **{"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192},
}
MIXTRAL = {
    "model_type": "mixtral",
    **{"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    **{"vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048},
    **{"num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "n_shared_experts": 1},
    **{"n_routed_experts": 256, "num_experts_per_tok": 8, "q_lora_rank": 1536, "kv_lora_rank": 512},
    **{"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "first_k_dense_replace": 3},
}
GEMMA_2B = {
    "model_type": "gemma",
    **{"vocab_size": 256000, "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18},
    **{"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256},
}
GPT2 = {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
PUBLISHED = {
    "llama-3-8b": (LLAMA_3_8B, 8_030_261_248, 8_030_261_248),
    "gpt2": (GPT2, 124_439_808, 124_439_808),
    "mixtral-8x7b": (MIXTRAL, 46_702_792_704, 12.9e9),
    "deepseek-v3": (DEEPSEEK_V3, 671_026_404_352, 37e9),
    "with-pictures": ({"model_type": "gemma3", "text_config": GEMMA_2B}, 2_506_172_416, 2_506_172_416),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Return the counts of the published models, each read from a file."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, (config, _, _) in PUBLISHED.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        found[name] = count_hf_file(folder / f"{name}.json")
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_count_is_the_published_one(name, counted):
    _, total, active = PUBLISHED[name]
    assert counted[name].total == total
    assert counted[name].active == pytest.approx(active, rel=0.02)


def test_a_token_is_multiplied_by_the_head_even_when_it_is_tied(counted):
    gpt2 = counted["gpt2"]
    assert gpt2.embedding == (50257 + 1024) * 768
    assert gpt2.matmul == 12 * 12 * 768**2 + 50257 * 768


def test_a_token_is_multiplied_by_its_experts_alone(counted):
    attention, expert = 2 * 4096**2 + 2 * 4096 * 1024, 3 * 4096 * 14336
    assert counted["mixtral-8x7b"].matmul == 32 * (attention + 8 * 4096 + 2 * expert) + 32000 * 4096


def test_latent_attention_has_the_width_of_its_paper(counted):
    assert counted["deepseek-v3"].attention == ((128 * (128 + 64 + 128), None),) * 61


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_forward_flops_are_those_that_torch_counts(family):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from torch.utils.flop_counter import FlopCounterMode

    sizes = {"vocab_size": 96, "num_layers": 2, "d_model": 32, "num_heads": 4, "seq_len": 16}
    sizes |= {} if family == "gpt2" else {"d_ff": 40, "num_kv_heads": 2, "head_dim": 8}
    expected = count_flops(count_hf_family(family, sizes)).full_attention / 3 * 16
    config = transformers.CONFIG_MAPPING[family](
        **{"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        **({} if family == "gpt2" else {"intermediate_size": 40, "num_key_value_heads": 2, "head_dim": 8}),
        attn_implementation="eager",
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 16, dtype=torch.long), use_cache=False)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.002)  # rotary angles are a product, too


@pytest.mark.parametrize(("change", "message"), rows("a_configuration_that_cannot_be_says_why"))
def test_a_configuration_that_cannot_be_says_why(change, message, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_8B | change))
    with pytest.raises(ConfigError, match=r"config\.json: .*" + message) as caught:
        count_hf_file(tmp_path)
    assert len(str(caught.value)) < 1000


def test_what_cannot_be_counted_is_refused():
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="mamba has no attention heads"):
        count_hf_family("mamba", {})
    with pytest.raises(ConfigError, match="no setting 'd_modl'; did you mean d_model"):
        count_hf_family("mixtral", {"d_modl": 64})


def test_without_transformers_a_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r'needs transformers: pip install "headwater\[hf\]"'):
        count_hf_family("mixtral", {})


@pytest.mark.parametrize("text", ["", "[]", "{", '"llama"', "\xff", '{"a":' * 100_000, '{"v": ' + "9" * 5000 + "}"])
def test_what_is_no_configuration_says_so(text, tmp_path):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"not valid JSON|no JSON object"):
        count_hf_file(tmp_path)


def test_a_folder_without_configuration_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json; name a folder"):
        count_hf_file(tmp_path)
