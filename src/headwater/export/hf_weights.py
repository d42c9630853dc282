"""Our parameters under the names and layouts that transformers gives them: a table for each family, and its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headwater.checkpoint.tensor_file import write_tensors
from headwater.errors import ExportError
from headwater.files import DigestedFile, write_json
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

INDEX_FILE = "model.safetensors.index.json"


def _joined(*parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _transposed(*parts: Tensor) -> Tensor:
    return _joined(*parts).T  # GPT-2's Conv1D holds (in, out) where a Linear holds (out, in)


@dataclass(frozen=True)
class Rule:
    """One tensor of theirs, and how it is made of ours."""

    theirs: str
    ours: tuple[str, ...]
    combine: Callable[..., Tensor] = _joined

    def made_of(self, parameter: Callable[[str], Tensor]) -> Tensor:
        """Return their tensor; `parameter` returns ours by name."""
        return self.combine(*map(parameter, self.ours))


def write_weights(
    folder: Path, state: Mapping[str, Tensor], model: ModelSettings, dtype: torch.dtype, max_file_bytes: int
) -> dict[str, str]:
    """Write the tensors of a transformers model of the same family, equal to `state`; return each file's digest.

    That is model.safetensors, or, where that would have more than `max_file_bytes`, numbered files and their index.
    One tensor at a time is in memory, with the parameters that it is made of, as far as `state` reads each where it is
    looked up. Raises ExportError naming every parameter that is missing, left over, or not of the shape the settings
    give: a model that lacks one loads elsewhere without a word and talks nonsense.
    """
    rules = {rule.theirs: rule for rule in export_rules(model)}
    _check_complete(state, rules.values())
    with torch.device("meta"):
        expected = Transformer(model).state_dict()
        theirs = {name: rule.made_of(expected.__getitem__).to(dtype) for name, rule in rules.items()}

    def parameter(name: str) -> Tensor:
        found, shape = state[name], expected[name].shape
        if found.shape != shape:
            raise ExportError(
                f"{name} is {tuple(found.shape)} and the settings say {tuple(shape)}; "
                "the weights and the settings come from different runs"
            )
        return found

    digests, files = dict[str, str](), _divided(theirs, max_file_bytes)
    for file_name, names in files.items():
        with DigestedFile(folder / file_name) as file:
            tensors = {name: theirs[name] for name in names}
            write_tensors(file, tensors, {"format": "pt"}, lambda name: rules[name].made_of(parameter).to(dtype))
        digests[file_name] = file.digest
    if len(files) > 1:
        places = {name: file_name for file_name, names in files.items() for name in names}
        total = sum(tensor.nbytes for tensor in theirs.values())
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})
    return digests


def _divided(tensors: Mapping[str, Tensor], max_bytes: int) -> dict[str, list[str]]:
    """Return which tensors lie in which file, in their order, each file as full as `max_bytes` allow."""
    parts, filled = list[list[str]](), max_bytes
    for name, tensor in tensors.items():
        filled += tensor.nbytes
        if filled > max_bytes:  # one that is larger by itself has a file of its own
            parts.append([])
            filled = tensor.nbytes
        parts[-1].append(name)
    if len(parts) == 1:
        return {"model.safetensors": parts[0]}
    return {f"model-{number:05d}-of-{len(parts):05d}.safetensors": names for number, names in enumerate(parts, 1)}


def _check_complete(state: Mapping[str, Tensor], rules: Collection[Rule]) -> None:
    needed = [name for rule in rules for name in rule.ours]
    assert len(needed) == len(set(needed)), "a parameter is in two rules"
    there = set(state)  # looking a name up would read its tensor
    missing = [name for name in needed if name not in there]
    left_over = sorted(there - set(needed))
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += [f"without a place there: {', '.join(left_over)}"] if left_over else []
    if problems:
        raise ExportError(
            "the parameters are not those of the model's family, so the export would be another model; "
            f"{'; '.join(problems)}; check family and tied_embeddings against the checkpoint"
        )


def export_rules(model: ModelSettings) -> list[Rule]:
    """Return a rule for every tensor of the transformers model."""
    block_rules = _gpt2_block if model.family == "gpt2" else _rotary_block
    top_rules = _gpt2_top if model.family == "gpt2" else _rotary_top
    rules = [*top_rules(), *(rule for i in range(model.num_layers) for rule in block_rules(i, model))]
    if not model.tied_embeddings:
        rules.append(Rule("lm_head.weight", ("head.weight",)))
    return rules


def _rotary_top() -> list[Rule]:
    return [Rule("model.embed_tokens.weight", ("embed.weight",)), Rule("model.norm.weight", ("final_norm.weight",))]


def _rotary_block(i: int, model: ModelSettings) -> list[Rule]:
    """Qwen3 and Llama. Our rotary positions have their half-split layout, so query and key need no permutation."""
    names = {
        "attention_norm": "input_layernorm",
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.out": "self_attn.o_proj",
        "mlp_norm": "post_attention_layernorm",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
    }
    if model.family == "qwen3":
        names |= {"attention.query_norm": "self_attn.q_norm", "attention.key_norm": "self_attn.k_norm"}
    there, here = f"model.layers.{i}", f"blocks.{i}"
    rules = [Rule(f"{there}.{theirs}.weight", (f"{here}.{ours}.weight",)) for ours, theirs in names.items()]
    if model.attention_bias:
        biased = [name for name in names if name in ("attention.query", "attention.key", "attention.value")]
        rules += [Rule(f"{there}.{names[ours]}.bias", (f"{here}.{ours}.bias",)) for ours in biased]
    if model.attention_bias and model.family == "qwen3":  # theirs has a fourth one, where ours has none
        rules.append(Rule(f"{there}.self_attn.o_proj.bias", (), lambda: torch.zeros(model.d_model)))
    return rules


def _gpt2_top() -> list[Rule]:
    return [
        Rule("transformer.wte.weight", ("embed.weight",)),
        Rule("transformer.wpe.weight", ("positions.weight",)),
        Rule("transformer.ln_f.weight", ("final_norm.weight",)),
        Rule("transformer.ln_f.bias", ("final_norm.bias",)),
    ]


def _gpt2_block(i: int, model: ModelSettings) -> list[Rule]:
    theirs, ours = f"transformer.h.{i}", f"blocks.{i}"
    projections = [f"{ours}.attention.{name}" for name in ("query", "key", "value")]
    rules = [
        Rule(f"{theirs}.attn.c_attn.weight", tuple(f"{name}.weight" for name in projections), _transposed),
        Rule(f"{theirs}.attn.c_attn.bias", tuple(f"{name}.bias" for name in projections)),
    ]
    for their_norm, our_norm in (("ln_1", "attention_norm"), ("ln_2", "mlp_norm")):
        rules += [Rule(f"{theirs}.{their_norm}.{kind}", (f"{ours}.{our_norm}.{kind}",)) for kind in ("weight", "bias")]
    for their_map, our_map in (("attn.c_proj", "attention.out"), ("mlp.c_fc", "mlp.up"), ("mlp.c_proj", "mlp.down")):
        rules.append(Rule(f"{theirs}.{their_map}.weight", (f"{ours}.{our_map}.weight",), _transposed))
        rules.append(Rule(f"{theirs}.{their_map}.bias", (f"{ours}.{our_map}.bias",)))
    return rules
