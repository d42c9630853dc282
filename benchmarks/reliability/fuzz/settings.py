"""The files that a user hands over: run files and overrides, tables of runs, a Hugging Face model's config.json."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz.target import Target
from headwater.core.errors import HeadwaterError
from headwater.model.hf_count import count_hf_file
from headwater.plan.scaling.table import read_runs
from headwater.runfile.run_config import find_recipe, load_run


def _run_file(data: bytes, folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_bytes(data)
    try:
        load_run(str(path), [])
    except HeadwaterError as error:
        assert str(error)


def _override(data: bytes, folder: Path) -> None:
    path = folder / "base.toml"
    if not path.exists():
        path.write_bytes(SMALL)
    text = data.decode("utf-8", "replace")
    try:
        load_run(str(path), text.split("\n"))
    except HeadwaterError as error:
        assert str(error)


def _table(data: bytes, folder: Path) -> None:
    path = folder / "runs.csv"
    path.write_bytes(data)
    try:
        assert len(read_runs(path)) >= 6
    except HeadwaterError as error:
        assert str(error)


def _config(data: bytes, folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(data)
    try:
        assert count_hf_file(path).total >= 0
    except HeadwaterError as error:
        assert str(error)


def _recipe(name: str) -> bytes:
    path = find_recipe(name)
    assert path is not None
    return path.read_bytes()


SMALL = b"""
[corpus.sources.mine]
paths = ["texts"]
[tokenizer]
vocab_size = 512
[model]
num_layers = 2
seq_len = 64
[train]
num_steps = 24
batch_tokens = 512
"""
RUNS = "params,tokens,loss,epochs,seed\n" + "".join(f"{n}e6,{20 * n}e6,{4 - n / 10},1,{n}\n" for n in range(1, 9))
LLAMA = {
    **{"model_type": "llama", "vocab_size": 32000, "hidden_size": 64, "intermediate_size": 128},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128},
}
MOE = LLAMA | {"model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = MOE | {
    **{"model_type": "deepseek_v3", "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8},
    **{"n_routed_experts": 4, "first_k_dense_replace": 1},
}
GPT2 = {"model_type": "gpt2", "vocab_size": 96, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}

TOML_WORDS = (
    *(b"[model]", b"[train]", b"[optim]", b"[corpus.sources.a]", b'extends = "first-light"', b"off", b"true", b"nan"),
    *(
        b"0xffffffffffffffffff",
        b"-1",
        b"1e999",
        b"[[",
        b"{a = {b = 1}}",
        b"d_model",
        b"num_layers",
        b"seq_len",
        b'"auto"',
    ),
    *(b"batch_tokens", b"1979-05-27T07:32:00Z", b"'''", b"a.b.c.d"),
)
TARGETS = (
    Target("run-file", lambda: (SMALL, _recipe("first-light")), _run_file, TOML_WORDS),
    Target(
        "override",
        lambda: (b"model.num_layers=3\ntrain.num_steps=off", b"optim.name=adamw"),
        _override,
        TOML_WORDS,
        max_bytes=256,
    ),
    Target(
        "law-table",
        lambda: (RUNS.encode(),),
        _table,
        (b"params", b"tokens", b"loss", b"epochs", b"nan", b"1e308", b'"', b"\r"),
    ),
    Target(
        "hf-config",
        lambda: tuple(json.dumps(config).encode() for config in (LLAMA, MOE, LATENT, GPT2)),
        _config,
        tuple(json.dumps(name).encode() for name in {**MOE, **LATENT, **GPT2, "layer_types": 1, "sliding_window": 1}),
    ),
)
