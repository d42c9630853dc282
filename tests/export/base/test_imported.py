"""Models of other people as ours: exactly, or not at all."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_rows import rows
from made_models import logits_of
from safetensors.torch import load_file, save_file
from their_gguf import GGUF_MODELS, settings_of, write_gguf
from their_models import CONFIGS, their_logits, token_ids, write_base
from their_tokenizers import TEXT, VOCAB_SIZE, table

from headwater.core.errors import ConfigError
from headwater.export.base.config import REFUSED_KINDS
from headwater.export.base.facts import INDEX_FILE, facts_of, licence_of, read_object, tokenizer_of
from headwater.export.base.gguf import MAX_ITEMS, MAX_STRING, GgufFile, read_header
from headwater.export.base.weights import model_of, open_values
from headwater.model.names import shapes
from headwater.model.transformer import Transformer

transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "headwater[hf]"')
gguf = pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
transformers.logging.disable_progress_bar()
IN_SHARDS = ("llama", "gpt2-inner-untied")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict[str, tuple[Path, torch.Tensor]]:
    """Folders that transformers wrote, and its logits."""
    folder, found = tmp_path_factory.mktemp("theirs"), {}
    for name in CONFIGS:
        options = {"max_shard_size": "20KB"} if name in IN_SHARDS else {}
        found[name] = folder / name, write_base(name, folder / name, **options)
        assert (folder / name / INDEX_FILE).exists() == (name in IN_SHARDS)
    return found


def opened(path: Path) -> Transformer:
    return model_of(facts_of(str(path)))


def difference(path: Path, logits: torch.Tensor) -> float:
    """Return the largest difference of a logit, as a share of the largest logit."""
    return float((logits_of(opened(path), token_ids()) - logits).abs().max() / logits.abs().max())


# ---- what is changed in a folder

Change = Callable[[Path], Any]


def config(**fields: Any) -> Change:
    """Set fields of config.json; those that are ... are left out."""

    def change(folder: Path) -> None:
        found = {
            name: value for name, value in (read_object(folder / "config.json") | fields).items() if value is not ...
        }
        (folder / "config.json").write_text(json.dumps(found))

    return change


def tensors(**changes: torch.Tensor | None) -> Change:
    """Set tensors; those that are None are left out."""

    def change(folder: Path) -> None:
        found = load_file(folder / "model.safetensors") | changes
        save_file({name: each for name, each in found.items() if each is not None}, folder / "model.safetensors")

    return change


def file(name: str, content: bytes | None) -> Change:
    return lambda folder: (folder / name).unlink() if content is None else (folder / name).write_bytes(content)


def of_the_inner_module(folder: Path) -> None:
    """Name the tensors as GPT-2's own file does, and add the causal mask."""
    found = load_file(folder / "model.safetensors")
    renamed = {name.removeprefix("transformer."): each for name, each in found.items()}
    save_file(renamed | {"h.0.attn.bias": torch.ones(1, 1, 64, 64)}, folder / "model.safetensors")


def head_and_table(folder: Path) -> None:
    """Write a tied head a second time, and the table of a buffer, as other versions do."""
    head = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].clone()
    tables = {"lm_head.weight": head, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    tensors(**tables)(folder)


SAME: list[tuple[str, Change]] = [
    *((name, lambda folder: None) for name in CONFIGS),
    ("llama-tied", head_and_table),
    ("gpt2", of_the_inner_module),
]


@pytest.fixture
def changed(theirs, tmp_path) -> Callable[[str, Change], Path]:
    def changed(name: str, change: Change) -> Path:
        folder = Path(shutil.copytree(theirs[name][0], tmp_path / "base"))
        change(folder)
        return folder

    return changed


@pytest.mark.parametrize(("name", "change"), SAME)
def test_an_imported_model_computes_what_transformers_computes(theirs, changed, name, change):
    assert difference(changed(name, change), theirs[name][1]) < 1e-5


@pytest.mark.parametrize("architecture", GGUF_MODELS)
def test_settings_and_weights_of_a_gguf_file_come_back_to_the_bit(tmp_path, architecture):
    weights = write_gguf(tmp_path / "m.gguf", architecture)
    base = facts_of(str(tmp_path / "m.gguf"))
    assert (base.kind, base.model) == ("gguf", settings_of(architecture))
    found = model_of(base).state_dict()
    assert [name for name, each in weights.items() if not torch.equal(found[name], each)] == []


@pytest.mark.parametrize("name", [*CONFIGS, *(f"{name}.gguf" for name in GGUF_MODELS)])
def test_a_part_of_a_parameter_is_the_same_as_in_the_whole(theirs, tmp_path, name):
    path = tmp_path / name if name.endswith(".gguf") else theirs[name][0]
    if name.endswith(".gguf"):
        write_gguf(path, path.stem)
    base = facts_of(str(path))
    with open_values(base) as value:
        for ours, shape in shapes(base.model).items():
            whole = value(ours, shape)
            assert whole.shape == shape
            for part in ((slice(3, 7),), (slice(None), slice(2, 30)), (slice(1, 2), slice(5, None)), (slice(8, 8),)):
                cut = part[: len(shape)]
                assert torch.equal(value(ours, shape, cut), whole[cut]), (ours, cut)


# ---- what isn't understood


def other_values(value: Any) -> list[Any]:
    """Return values of the same kind, and of others, that a key might have instead."""
    if isinstance(value, bool):
        return [not value, None, 1, "yes"]
    if isinstance(value, int | float):
        return [value + 1, value * 2, value / 2, -value, 0, None, True, "7", float("nan")]
    if isinstance(value, str):
        return ["other", "gelu", "relu", "linear", "dynamic", "llama3", None, 1]
    if isinstance(value, list):
        return [[], value[:1], [*value, "other"], ["full_attention"], ["sliding_attention"], None, 3]
    return [1, 4, True, {"a": 1}, "full_attention", 0.5]


def mutated(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the config with each of its keys, and of its tables' keys, changed, and left out."""
    found = []
    for name, value in config.items():
        inner = (
            [(key, other) for key, each in value.items() for other in other_values(each)]
            if isinstance(value, dict)
            else []
        )
        for key, other in inner:
            found.append((f"{name}.{key}={other!r}", {**config, name: {**value, key: other}}))
        found += [(f"{name}={other!r}", {**config, name: other}) for other in other_values(value)]
        found.append((f"no {name}", {key: each for key, each in config.items() if key != name}))
    return found


FLIPPED = ("llama-llama3", "llama-yarn-factors", "mistral-window", "qwen2-window-tied", "qwen3", "gpt2")


@pytest.mark.parametrize("name", FLIPPED)
def test_no_key_is_taken_wrongly_without_a_word(theirs, changed, name):
    """Every key of a config turned to something else: refused, or the logits of transformers with that config."""
    original, folder = read_object(theirs[name][0] / "config.json"), changed(name, lambda folder: None)
    cases = mutated(original) + [
        (f"{key}={value!r}", {**original, key: value}) for key, value in rows("keys_of_other_configs")
    ]
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    wrong, num_compared = [], 0
    for what, other in cases:
        (folder / "config.json").write_text(json.dumps(other))
        try:
            opened(folder)
            there = their_logits(transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval())
        except Exception:  # ours refuses it, or theirs does
            continue
        num_compared += 1
        if not (found := difference(folder, there)) < 3e-5:  # a sharper attention rounds more
            wrong.append(f"{what}: logits differ by {found}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases, {num_compared} compared:\n" + "\n".join(wrong)
    assert num_compared > 30, "most of what is accepted is of no effect in both"


NORM = "model.layers.1.input_layernorm.weight"
OUT_BIAS = "model.layers.0.self_attn.o_proj.bias"
LINEAR, DYNAMIC = {"type": "linear", "factor": 2.0}, {"rope_type": "dynamic", "factor": 2.0}
REFUSED: list[tuple[str, Change, str]] = [
    # config.json: the key is named
    *((name, config(**{key: value}), key) for name, key, value in [
        ("llama", "hidden_act", "gelu"), ("llama", "mlp_bias", True), ("llama", "partial_rotary_factor", 0.5),
        ("llama", "sliding_window", 16), ("llama", "attn_logit_softcapping", 30.0), ("llama", "rope_theta", 77.0),
        ("llama", "architectures", ["LlamaForSequenceClassification"]), ("llama", "quantization_config", {"bits": 4}),
        ("llama", "auto_map", {"AutoModelForCausalLM": "modeling.Other"}), ("llama", "num_hidden_layers", 2.5),
        ("llama", "vocab_size", None), ("mistral-window", "layer_types", ["sliding_attention", "full_attention"]),
        ("qwen2", "attention_bias", False), ("qwen3", "use_sliding_window", 1), ("qwen3", "num_experts", 8),
        ("gpt2", "activation_function", "gelu"), ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("gpt2", "add_cross_attention", True), ("gpt2", "n_head", 5),
    ]),
    *(("llama", config(rope_scaling=value), "rope") for value in (LINEAR, DYNAMIC)),
    ("llama-yarn", config(rope_parameters={"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}), "mscale"),
    ("llama-llama3", config(rope_parameters={"rope_type": "llama3", "factor": 4.0}), "low_freq_factor"),
    ("qwen2-window-tied", config(max_window_layers=1, layer_types=...), "max_window_layers"),
    ("llama", config(mlp_bias=True, hidden_act="relu", query_pre_attn_scalar=256),
     r"hidden_act='relu'.*mlp_bias=True.*query_pre_attn_scalar=256"),
    *(("llama", config(model_type=kind), r"can't be imported: .*llama, mistral, qwen2")
      for kind in (*REFUSED_KINDS, "bert", "mamba", None, ["llama"])),
    # tensors that aren't the config's
    ("llama-tied", tensors(**{NORM: None}), f"missing: {NORM}"),
    ("llama-tied", tensors(**{"model.layers.2.mlp.up_proj.weight": torch.ones(1)}), r"place here: model\.layers\.2\.mlp\.up"),
    ("llama-tied", tensors(**{NORM: torch.ones(31)}), rf"{NORM} is \(31,\) .* \(32,\)"),
    ("llama-tied", tensors(**{NORM: torch.ones(32, dtype=torch.int64)}), f"{NORM} is of type I64"),
    ("llama-tied", tensors(**{NORM: torch.full((32,), float("nan"))}), f"{NORM} holds .* not finite"),
    ("llama-tied", tensors(**{"lm_head.weight": torch.ones(VOCAB_SIZE, 32)}), "lm_head.weight differs"),
    ("mistral", tensors(**{"lm_head.weight": None}), "missing: lm_head.weight"),
    ("qwen2", tensors(**{OUT_BIAS: torch.ones(32)}), f"{OUT_BIAS} is not zero"),
    ("gpt2", tensors(**{"transformer.h.0.attn.c_attn.bias": None}), r"missing: transformer\.h\.0\.attn\.c_attn\.bias"),
    # more weights than the files can have
    *(("llama-llama3", config(**{key: size}), r"makes [\d,]+ weights, and its files have [\d,]+ at most")
      for key, size in {"vocab_size": 10**12, "intermediate_size": 4 * 10**9}.items()),
    # files
    ("qwen3", file("config.json", None), "is not a model"),
    ("qwen3", file("config.json", b"{"), "config.json is not valid JSON"),
    ("qwen3", file("config.json", b"[]"), "holds no JSON object"),
    ("qwen3", file("config.json", b'{"model_type": 1, "model_type": 2}'), "the same key twice"),
    ("qwen3", file("model.safetensors", None), "has no model.safetensors"),
    ("qwen3", lambda folder: os.truncate(path := folder / "model.safetensors", path.stat().st_size - 8), "is no whole safetensors file"),
    ("qwen3", file("model.safetensors", b"PK" + bytes(10**6)), "is no whole safetensors file"),
    ("qwen3", file("adapter_config.json", b"{}"), "holds an adapter"),
    ("qwen3", file(INDEX_FILE, b'{"weight_map": {"a": "../other.safetensors"}}'), "no weight_map of names of files beside"),
    ("qwen3", file(INDEX_FILE, b'{"weight_map": {"a": "gone.safetensors"}}'), "can't be read"),
    ("qwen3", file(INDEX_FILE, b'{"weight_map": {"a": "model.safetensors"}}'), "is wrong about a, lm_head.weight, model.embed"),
    ("gpt2", config(vocab_size=300), "rows for 300 tokens"),
    ("gpt2", file("tokenizer.json", None), r"base: it has no tokenizer\.json"),
    ("gpt2", lambda folder: os.truncate(folder / "tokenizer_config.json", 10**8), r"tokenizer_config\.json has more than"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "word"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong_with_a_folder_is_named(changed, name, change, word):
    with pytest.raises(ConfigError, match=word):
        opened(changed(name, change))


def header_of(architecture: str) -> Change:
    def write(path: Path) -> None:
        writer = gguf.GGUFWriter(path, architecture)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()

    return write


def llama(**changes: Any) -> Change:
    return lambda path: write_gguf(path, "llama", **changes)


NO_FILES: list[tuple[Change, str]] = [
    (lambda path: path.write_bytes(b"GGUF no"), "is no whole GGUF file"),
    (header_of("gemma3"), "'gemma3' can't be imported; those that can are llama, qwen2"),
    *((llama(**{key: value}), rf"llama\.{key}={value!r} isn't understood") for key, value in {
        "rope.scaling.type": "yarn", "attention.sliding_window": 8, "expert_count": 4,
    }.items()),
    (llama(**{"rope.dimension_count": 4}), r"llama\.rope\.dimension_count=4, where 8"),
    (llama(**{"rope_freqs.weight": 1}), r"rope_freqs\.weight stretches"),
    (llama(**{"split.count": 2}), "one of several files"),
    (llama(**{"blk.1.ffn_up.weight": None}), r"missing: blk\.1\.ffn_up\.weight"),
    (llama(**{"blk.1.ffn_up.weight": np.ones((63, 32))}), r"blk\.1\.ffn_up\.weight is \(63, 32\) .* \(64, 32\)"),
    (llama(**{"output_norm.weight": np.full(32, np.nan)}), r"output_norm\.weight holds .* not finite"),
    (llama(pre="default"), "pattern 'default'; those understood"),
    *((llama(left_out=[key]), f"tokenizer.ggml.{key} is missing") for key in ("token_type", "merges")),
]  # fmt: skip


@pytest.mark.parametrize(("write", "word"), NO_FILES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong_with_a_gguf_file_is_named(tmp_path, write, word):
    write(tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match=word):
        opened(tmp_path / "m.gguf")


@pytest.mark.parametrize("kind", [None, "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_file_is_read_as_the_package_reads_it(tmp_path, kind):
    write_gguf(tmp_path / "m.gguf", "qwen3", None if kind is None else gguf.GGMLQuantizationType[kind])
    ours, theirs = GgufFile(tmp_path / "m.gguf"), gguf.GGUFReader(tmp_path / "m.gguf")
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.keys == fields and len(fields) > 15
    assert ours.tensors.keys() == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        place = ours.tensors[tensor.name]
        assert (list(place.shape), place.kind, place.start) == (
            tensor.shape.tolist(),
            tensor.tensor_type,
            tensor.data_offset,
        )
        for part in (slice(None), slice(3, 7)):
            expected = gguf.quants.dequantize(tensor.data[part], tensor.tensor_type)
            assert np.array_equal(ours.dequantized(tensor.name, part), expected)


def test_its_tokenizer_gives_the_same_ids(tmp_path):
    write_gguf(tmp_path / "m.gguf", "qwen3")
    base = facts_of(str(tmp_path / "m.gguf"))
    assert base.vocab_size == VOCAB_SIZE
    tokenizer = tokenizer_of(base)
    assert tokenizer.foreign.pattern == "llama3" and tokenizer.foreign.ignores_merges
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert (tokenizer.begin_id, tokenizer.end_id, tokenizer.special["<tool>"]) == (
        0,
        0,
        table("llama3")["model"]["vocab"]["<tool>"],
    )


@pytest.mark.parametrize(("files", "licence"), rows("a_licence_is_what_the_folder_says_and_where"))
def test_a_licence_is_what_the_folder_says_and_where(tmp_path, files, licence):
    for name, text in {"config.json": "{}", **files}.items():
        (tmp_path / name).write_bytes(text.encode())
    assert licence_of(tmp_path) == licence


STRING, ARRAY, BYTE = 8, 9, 0
numbers = itertools.count()


def text(data: bytes = b"k", size: int | None = None) -> bytes:
    return struct.pack("<Q", len(data) if size is None else size) + data


def header(keys: list[bytes], num_keys: int | None = None, num_tensors: int = 0, version: int = 3) -> bytes:
    counts = num_tensors, len(keys) if num_keys is None else num_keys
    return struct.pack("<4sIQQ", b"GGUF", version, *counts) + b"".join(keys)


def key(kind: int, value: bytes) -> bytes:
    return text(b"%d" % next(numbers)) + struct.pack("<I", kind) + value


def array(kind: int, num: int, data: bytes = b"") -> bytes:
    return key(ARRAY, struct.pack("<IQ", kind, num) + data)


SOUND = header([key(STRING, text(b"llama")), array(BYTE, 3, b"abc"), array(STRING, 2, text() + text(b""))])


def test_a_sound_header_passes_and_cut_anywhere_it_does_not(tmp_path: Path):
    path = tmp_path / "m.gguf"
    path.write_bytes(SOUND + b"tensors")
    read_header(path)
    for end in range(len(SOUND)):
        path.write_bytes(SOUND[:end])
        with pytest.raises(ConfigError, match="is no whole GGUF file"):
            read_header(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGML" + SOUND[4:], "doesn't begin as one"),
        (header([], version=1), "doesn't begin as one"),
        (header([], version=3 << 24), "little-endian"),
        (header([], num_keys=2**63), f"more than {MAX_ITEMS:,} values"),
        (header([], num_tensors=2**63), f"more than {MAX_ITEMS:,} values"),
        (header([key(STRING, text(b"x", 2**62))]), f"is more than {MAX_STRING:,}"),
        (header([text(b"x", 2**62)]), f"is more than {MAX_STRING:,}"),
        (header([array(BYTE, 2**60)]), f"more than {MAX_ITEMS:,} values"),
        (header([array(BYTE, 1000)]), "ends within its header"),
        (header([array(STRING, 1000)]), "is no whole GGUF file"),
        (header([array(ARRAY, 1)]), "of kind 9, which isn't read"),
        (header([text() + struct.pack("<IB", 0, 1)] * 2), "it has 'k' twice"),
        (header([key(STRING, text(b"\xff"))]), "is no whole GGUF file"),
        (header([key(13, b"")]), "of kind 13, which isn't read"),
        (header([text(b"t") + struct.pack("<I", 2**31)], num_keys=0, num_tensors=1), f"more than {MAX_ITEMS:,} values"),
    ],
)
def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path, data, message):
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_header(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    "change", [{"start": 1 << 62}, {"start": 1 << 70}, {"shape": (1 << 40, 1 << 20)}, {"kind": 99}]
)
def test_a_tensor_that_claims_more_than_there_is_is_refused(tmp_path, change):
    write_gguf(tmp_path / "m.gguf", "llama")
    file = GgufFile(tmp_path / "m.gguf")
    file.tensors["output_norm.weight"] = replace(file.tensors["output_norm.weight"], **change)
    with pytest.raises(ConfigError, match=r"output_norm\.weight is damaged or not known"):
        file.dequantized("output_norm.weight", slice(None))
