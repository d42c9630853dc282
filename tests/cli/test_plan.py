"""`headwater plan count` as programs and people call it."""

from __future__ import annotations

import json

import pytest
from small_run import call

LLAMA_3_8B = [
    *("vocab_size=128256", "num_layers=32", "d_model=4096", "d_ff=14336", "num_heads=32", "num_kv_heads=8"),
    "tied_embeddings=false",
]


def sets(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.mark.parametrize("arguments", [sets(LLAMA_3_8B), ["--set", *LLAMA_3_8B]], ids=["each", "once"])
def test_count_of_a_family(arguments, tmp_path):
    said = call("plan", "count", "--family", "llama", *arguments, "--seq-len", "8192", "--json", cwd=tmp_path)
    value = json.loads(said.out)
    assert value["params"] == value["active_params"] == 8_030_261_248
    assert value["flops_per_token"]["causal"] == pytest.approx(6 * 7_504_658_432 + 6 * 32 * 32 * 128 * 8193)


def test_count_of_a_folder(tmp_path):
    pytest.importorskip("transformers")
    config = {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    value = json.loads(call("plan", "count", str(tmp_path), "--json", cwd=tmp_path).out)
    assert value["params"] == 124_439_808
    assert {"six_n", "full_attention", "causal", "hardware"} <= set(value["flops_per_token"])


def test_count_speaks_to_people(tmp_path):
    said = call("plan", "count", "--family", "llama", *LLAMA_3_8B, cwd=tmp_path)
    assert "8,030,261,248" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count"], "name one folder with a config.json, or a family"),
        (["count", "a", "b"], "name one folder"),
        (["count", "nowhere"], "no nowhere; name a folder that holds the config.json"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(arguments, message, tmp_path):
    said = call("plan", *arguments, cwd=tmp_path)
    assert said.status in (1, 2)
    assert message in said.err
    assert "Traceback" not in said.err


def test_an_own_family_is_counted_as_a_run_would_build_it(tmp_path):
    """What isn't given comes from the rules: embeddings of their own, heads and widths."""
    sizes = ["num_layers=32", "d_model=4096", "num_heads=32", "num_kv_heads=8", "d_ff=14336", "vocab_size=128256"]
    found = call("plan", "count", "--family", "llama", *sizes, "--json", cwd=tmp_path)
    assert json.loads(found.out)["params"] == 8_030_261_248
    few = call("plan", "count", "--family", "qwen3", "num_layers=4", "vocab_size=8192", "--json", cwd=tmp_path)
    d_model, d_ff, head_dim = 256, 704, 64
    block = 4 * d_model**2 + 3 * d_model * d_ff + 2 * d_model + 2 * head_dim
    assert json.loads(few.out)["params"] == 2 * 8192 * d_model + 4 * block + d_model
