from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from their_models import CONFIGS, save_their_model, their_logits, token_ids

from headwater.core.errors import ConfigError
from headwater.export.base.config import HARMLESS, KINDS, REFUSED_KINDS, settings_of_config
from headwater.export.base.folder import INDEX_FILE, licence_of, read_object
from headwater.export.base.folder_weights import FolderValues
from headwater.model.names import shapes
from headwater.model.transformer import Transformer

transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "headwater[hf]"')
transformers.logging.disable_progress_bar()
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict[str, tuple[Path, torch.Tensor]]:
    """Folders that transformers wrote, and its logits."""
    folder, found = tmp_path_factory.mktemp("theirs"), {}
    for name in CONFIGS:
        options = {"max_shard_size": "20KB"} if name in ("llama", "gpt2-inner-untied") else {}
        found[name] = folder / name, save_their_model(name, folder / name, **options)
    return found


def imported(folder: Path, config: dict[str, Any] | None = None) -> Transformer:
    settings = settings_of_config(config or read_object(folder / "config.json"))
    values, model = FolderValues(folder, settings), Transformer(settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values.value(name, parameter.shape))
    return model


def our_logits(model: Transformer) -> torch.Tensor:
    with torch.inference_mode():
        return model.logits(model.hidden(token_ids(), torch.zeros_like(token_ids())))


@pytest.mark.parametrize("name", CONFIGS)
def test_an_imported_model_computes_what_transformers_computes(theirs, name):
    folder, logits = theirs[name]
    assert (folder / INDEX_FILE).exists() == (name in ("llama", "gpt2-inner-untied"))
    assert (our_logits(imported(folder)) - logits).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
def test_a_part_of_a_parameter_is_the_same_as_in_the_whole(theirs, name):
    folder, _ = theirs[name]
    settings = settings_of_config(read_object(folder / "config.json"))
    values = FolderValues(folder, settings)
    for ours, shape in shapes(settings).items():
        whole = values.value(ours, shape)
        assert whole.shape == shape
        for part in ((slice(3, 7),), (slice(None), slice(2, 30)), (slice(1, 2), slice(5, None)), (slice(8, 8),)):
            cut = part[: len(shape)]
            assert torch.equal(values.value(ours, shape, cut), whole[cut]), (ours, cut)


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


EXTRA_KEYS = {
    "partial_rotary_factor": 0.5,
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 5,
    "use_sliding_window": True,
    "max_window_layers": 1,
    "mlp_bias": True,
    "attention_bias": True,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 5.0,
    "logit_scale": 0.5,
    "hidden_act": "gelu",
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "rope_theta": 123.0,
    "tie_word_embeddings": True,
    "head_dim": 4,
    "n_inner": 64,
    "scale_attn_by_inverse_layer_idx": True,
    "scale_attn_weights": False,
    "activation_function": "relu",
    "num_key_value_heads": 1,
    "layer_norm_epsilon": 0.5,
    "rms_norm_eps": 0.5,
    "no_rope_layers": [1, 0],
}


def loaded_by_transformers(folder: Path, config: dict[str, Any], scratch: Path) -> Any:
    """Return what transformers makes of the weights of a folder with another config."""
    scratch.mkdir(exist_ok=True)
    for path in folder.glob("model*.safetensors*"):
        (scratch / path.name).unlink(missing_ok=True)
        (scratch / path.name).symlink_to(path)
    (scratch / "config.json").write_text(json.dumps(config))
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    return transformers.AutoModelForCausalLM.from_pretrained(scratch, **options).eval()


FLIPPED = ("llama-llama3", "llama-yarn-factors", "mistral-window", "qwen2-window-tied", "qwen3", "gpt2")


@pytest.mark.slow
@pytest.mark.parametrize("name", FLIPPED)
def test_no_key_is_taken_wrongly_without_a_word(theirs, name, tmp_path):
    """Every key of a config turned to something else: refused, or the logits of transformers with that config."""
    folder, _ = theirs[name]
    config = read_object(folder / "config.json")
    cases = mutated(config) + [(f"{key}={value!r}", {**config, key: value}) for key, value in EXTRA_KEYS.items()]
    wrong, num_compared = [], 0
    for what, changed in cases:
        try:
            logits = our_logits(imported(folder, changed))
            there = their_logits(loaded_by_transformers(folder, changed, tmp_path / "t"))
        except ConfigError:
            continue
        except Exception:
            continue
        num_compared += 1
        if not (logits - there).abs().max() < TOLERANCE:
            wrong.append(f"{what}: logits differ by {(logits - there).abs().max()}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases, {num_compared} compared:\n" + "\n".join(wrong)
    assert num_compared > 30, "most of what is accepted is of no effect in both"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("llama", "hidden_act", "gelu"),
        ("llama", "mlp_bias", True),
        ("llama", "partial_rotary_factor", 0.5),
        ("llama", "rope_scaling", {"type": "linear", "factor": 2.0}),
        ("llama", "rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
        ("llama", "sliding_window", 16),
        ("llama", "attn_logit_softcapping", 30.0),
        ("llama", "architectures", ["LlamaForSequenceClassification"]),
        ("llama", "auto_map", {"AutoModelForCausalLM": "modeling.Other"}),
        ("llama", "quantization_config", {"bits": 4}),
        ("llama", "num_hidden_layers", 2.5),
        ("llama", "vocab_size", None),
        ("llama-yarn", "rope_parameters", {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}),
        ("llama-llama3", "rope_parameters", {"rope_type": "llama3", "factor": 4.0}),
        ("llama", "rope_theta", 77.0),
        ("mistral-window", "layer_types", ["sliding_attention", "full_attention"]),
        ("qwen2-window-tied", "max_window_layers", 1),
        ("qwen2", "attention_bias", False),
        ("qwen3", "use_sliding_window", 1),
        ("qwen3", "num_experts", 8),
        ("gpt2", "activation_function", "gelu"),
        ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("gpt2", "add_cross_attention", True),
        ("gpt2", "n_head", 5),
    ],
)
def test_a_config_that_says_something_else_is_refused_and_the_key_named(theirs, name, key, value):
    config = read_object(theirs[name][0] / "config.json")
    if name == "qwen2-window-tied":
        del config["layer_types"]
    with pytest.raises(ConfigError) as refused:
        settings_of_config({**config, key: value})
    words = {"rope_scaling": "rope", "rope_parameters": "mscale" if name == "llama-yarn" else "low_freq_factor"}
    assert words.get(key, key) in str(refused.value)


def test_every_key_that_is_not_understood_is_named_at_once(theirs):
    config = read_object(theirs["llama"][0] / "config.json")
    with pytest.raises(ConfigError, match=r"hidden_act='relu'.*mlp_bias=True.*query_pre_attn_scalar=256 isn't"):
        settings_of_config({**config, "mlp_bias": True, "hidden_act": "relu", "query_pre_attn_scalar": 256})


@pytest.mark.parametrize("model_type", [*REFUSED_KINDS, "bert", "mamba", None, ["llama"]])
def test_other_families_are_refused_in_words(model_type):
    with pytest.raises(ConfigError, match=r"can't be imported: .*; those that can are llama, mistral, qwen2"):
        settings_of_config({"model_type": model_type, "hidden_size": 32})


def test_no_harmless_key_is_also_understood():
    assert not [name for kind in KINDS.values() for name in kind.keys.keys() & HARMLESS]


def changed_weights(folder: Path, to: Path, **changes: torch.Tensor | None) -> Path:
    """Write the folder with other tensors: None for one that is left out."""
    to.mkdir()
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, to / "model.safetensors")
    return to


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama-tied", {NORM: None}, f"missing: {NORM}"),
        (
            "llama-tied",
            {"model.layers.2.mlp.up_proj.weight": torch.ones(1)},
            "without a place here: model.layers.2.mlp.up",
        ),
        ("llama-tied", {NORM: torch.ones(31)}, rf"{NORM} is \(31,\) and config.json makes it \(32,\)"),
        ("llama-tied", {NORM: torch.ones(32, dtype=torch.int64)}, f"{NORM} is of type int64"),
        ("llama-tied", {NORM: torch.full((32,), float("nan"))}, f"{NORM} holds values that are not finite"),
        (
            "llama-tied",
            {"lm_head.weight": torch.ones(320, 32)},
            "lm_head.weight differs from model.embed_tokens.weight",
        ),
        ("mistral", {"lm_head.weight": None}, "missing: lm_head.weight"),
        ("qwen2", {"model.layers.0.self_attn.o_proj.bias": torch.ones(32)}, "o_proj.bias is not zero"),
        ("gpt2", {"transformer.h.0.attn.c_attn.bias": None}, "missing: transformer.h.0.attn.c_attn.bias"),
    ],
)
def test_tensors_that_are_not_the_configs_are_named(theirs, tmp_path, name, changes, words):
    with pytest.raises(ConfigError, match=words):
        imported(changed_weights(theirs[name][0], tmp_path / "changed", **changes))


def test_what_other_versions_keep_beside_the_weights_changes_nothing(theirs, tmp_path):
    folder, logits = theirs["llama-tied"]
    head = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    tables = {"lm_head.weight": head.clone(), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    assert (
        our_logits(imported(changed_weights(folder, tmp_path / "llama", **tables))) - logits
    ).abs().max() < TOLERANCE
    # GPT-2's own file has the names of the inner module, and the causal mask
    folder, logits = theirs["gpt2"]
    tensors = load_file(folder / "model.safetensors")
    renamed = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    old = changed_weights(
        folder, tmp_path / "gpt2", **dict.fromkeys(tensors), **renamed, **{"h.0.attn.bias": torch.ones(1, 1, 64, 64)}
    )
    assert (our_logits(imported(old)) - logits).abs().max() < TOLERANCE


def test_bfloat16_weights_are_taken_as_they_are(theirs, tmp_path):
    folder, _ = theirs["qwen3"]
    rounded = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    model = imported(changed_weights(folder, tmp_path / "bf16", **rounded))
    assert torch.equal(model.embed.weight, rounded["model.embed_tokens.weight"].float())


def test_a_broken_folder_is_refused(theirs, tmp_path):
    folder, _ = theirs["qwen3"]
    config = read_object(folder / "config.json")

    def refused(words: str, name: str, content: bytes | None) -> None:
        broken = changed_weights(folder, tmp_path / str(len(list(tmp_path.iterdir()))))
        (broken / name).unlink(missing_ok=True)
        if content is not None:
            (broken / name).write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            imported(broken, read_object(broken / "config.json"))

    data = (folder / "model.safetensors").read_bytes()
    refused("there is no .*config.json", "config.json", None)
    refused("config.json is not valid JSON", "config.json", b"{")
    refused("holds no JSON object", "config.json", b"[]")
    refused("the same key twice", "config.json", b'{"a": 1, "a": 2}')
    refused("has no model.safetensors", "model.safetensors", None)
    refused("is no whole safetensors file", "model.safetensors", data[:-8])
    refused("is no whole safetensors file", "model.safetensors", b"PK")
    refused("holds an adapter", "adapter_config.json", b"{}")
    refused("no weight_map of names of files beside it", INDEX_FILE, b'{"weight_map": {"a": "../other.safetensors"}}')
    refused("can't be read|No such file", INDEX_FILE, b'{"weight_map": {"a": "gone.safetensors"}}')
    refused("is wrong about a, lm_head.weight, model.embed", INDEX_FILE, b'{"weight_map": {"a": "model.safetensors"}}')
    assert config == read_object(folder / "config.json")


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        (
            {"README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\nlicense: mit"},
            "apache-2.0, as its README.md says",
        ),
        (
            {"README.md": "---\r\nlicense: 'other'\r\nlicense_name: mine\r\n---\r\n"},
            "other: mine, as its README.md says",
        ),
        ({"README.md": "# Model\nlicense: mit", "config.json": '{"license": " mit "}'}, "mit, as its config.json says"),
        (
            {"README.md": "---\nlicense:\n---\n", "LICENSE.txt": "…", "licensing.md": "…"},
            "that of its file LICENSE.txt",
        ),
        ({"README.md": "---\nlicense", "config.json": '{"license": 3}'}, ""),
        ({"README.md": f"---\nlicense: a{' ' * 60_000}b\n---\n"}, f"a{' ' * 199}, as its README.md says"),
    ],
)
def test_a_licence_is_what_the_folder_says_and_where(tmp_path, files, licence):
    for name, text in {"config.json": "{}", **files}.items():
        (tmp_path / name).write_bytes(text.encode())
    assert licence_of(tmp_path) == licence
