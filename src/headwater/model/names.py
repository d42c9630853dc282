"""Our parameters and those of transformers: for each family a table of which tensor of theirs is made of which of ours.

The same table serves both ways. A tensor of theirs is some of ours, one below the other, in GPT-2 turned on its side;
so each of ours is a number of rows, or of columns, in one of theirs. `gguf_names` has such a table for llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.model.count import Shape, block_shapes, outside_shapes
from headwater.model.gguf_names import MODULES, architecture
from headwater.model.settings import ModelSettings


@dataclass(frozen=True)
class Rule:
    """One tensor of theirs, and how it is made of ours; of none: `width` zeros."""

    theirs: str
    ours: tuple[str, ...]
    is_transposed: bool = False
    "GPT-2's Conv1D holds (in, out) where a Linear holds (out, in)."
    width: int = 0
    paired_head_dim: int | None = None
    "Of heads whose rotary pairs are neighbouring rows there, where ours are half a head apart."

    def made_of(self, parameter: Callable[[str], Tensor]) -> Tensor:
        """Return their tensor; `parameter` returns ours by name."""
        if not self.ours:
            return torch.zeros(self.width)
        parts = [parameter(name) for name in self.ours]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.paired_head_dim is not None:
            joined = joined.unflatten(0, (-1, 2, self.paired_head_dim // 2)).transpose(1, 2).flatten(0, 2)
        return joined.T if self.is_transposed else joined


@dataclass(frozen=True)
class Place:
    """Where a parameter of ours lies in theirs: its rows begin at `first_row` of that tensor, or of its transpose."""

    theirs: str
    first_row: int
    is_transposed: bool
    paired_head_dim: int | None = None


def shapes(model: ModelSettings) -> dict[str, Shape]:
    """Return the shape of each of our parameters by its name."""
    blocks = {
        f"blocks.{i}.{_in_block(name)}": shape
        for i in range(model.num_layers)
        for name, shape in block_shapes(model).items()
    }
    return {**outside_shapes(model), **blocks}


def _in_block(name: str) -> str:
    module = name.split(".")[0]
    if module in ("attention_norm", "mlp_norm"):
        return name
    return f"mlp.{name}" if module in ("gate", "up", "down") else f"attention.{name}"


def rules(model: ModelSettings) -> list[Rule]:
    """Return a rule for every tensor of the transformers model."""
    block_rules = _gpt2_block if model.family == "gpt2" else _rotary_block
    top_rules = _gpt2_top if model.family == "gpt2" else _rotary_top
    found = [*top_rules(), *(rule for i in range(model.num_layers) for rule in block_rules(i, model))]
    if not model.tied_embeddings:
        found.append(Rule("lm_head.weight", ("head.weight",)))
    return found


def places(model: ModelSettings, rules: Iterable[Rule]) -> dict[str, Place]:
    """Return where each of our parameters lies in theirs."""
    ours = shapes(model)
    return {name: place for rule in rules for name, place in _places_in(rule, ours)}


def their_shapes(model: ModelSettings, rules: Iterable[Rule]) -> dict[str, Shape]:
    """Return the shape of each tensor of theirs by its name."""
    ours, found = shapes(model), dict[str, Shape]()
    for rule in rules:
        parts = [ours[name] for name in rule.ours]
        shape = (sum(rows for rows, *_ in parts), *parts[0][1:]) if parts else (rule.width,)
        found[rule.theirs] = shape[::-1] if rule.is_transposed else shape
    return found


def _places_in(rule: Rule, ours: dict[str, Shape]) -> Iterator[tuple[str, Place]]:
    first_row = 0
    for name in rule.ours:
        yield name, Place(rule.theirs, first_row, rule.is_transposed, rule.paired_head_dim)
        first_row += ours[name][0]


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
    found = [Rule(f"{there}.{theirs}.weight", (f"{here}.{ours}.weight",)) for ours, theirs in names.items()]
    if model.attention_bias:
        biased = [name for name in names if name in ("attention.query", "attention.key", "attention.value")]
        found += [Rule(f"{there}.{names[ours]}.bias", (f"{here}.{ours}.bias",)) for ours in biased]
    if model.attention_bias and model.family == "qwen3":  # theirs has a fourth one, where ours has none
        found.append(Rule(f"{there}.self_attn.o_proj.bias", (), width=model.d_model))
    return found


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
    found = [
        Rule(f"{theirs}.attn.c_attn.weight", tuple(f"{name}.weight" for name in projections), is_transposed=True),
        Rule(f"{theirs}.attn.c_attn.bias", tuple(f"{name}.bias" for name in projections)),
    ]
    for their_norm, our_norm in (("ln_1", "attention_norm"), ("ln_2", "mlp_norm")):
        found += [Rule(f"{theirs}.{their_norm}.{kind}", (f"{ours}.{our_norm}.{kind}",)) for kind in ("weight", "bias")]
    for their_map, our_map in (("attn.c_proj", "attention.out"), ("mlp.c_fc", "mlp.up"), ("mlp.c_proj", "mlp.down")):
        found.append(Rule(f"{theirs}.{their_map}.weight", (f"{ours}.{our_map}.weight",), is_transposed=True))
        found.append(Rule(f"{theirs}.{their_map}.bias", (f"{ours}.{our_map}.bias",)))
    return found


def gguf_rules(model: ModelSettings) -> list[Rule]:
    """Return a rule for every tensor that llama.cpp has for the model; its llama turns neighbouring channels."""
    found, fused = list[Rule](), ("attention.query", "attention.key", "attention.value")
    for ours in shapes(model):
        *modules, kind = ours.split(".")
        block = f"blk.{modules[1]}." if modules[0] == "blocks" else ""
        inner = ".".join(modules[2:] if block else modules)
        if model.family == "gpt2" and inner in fused:
            parts = tuple(ours.replace(inner, each) for each in fused)
            found += [Rule(f"{block}attn_qkv.{kind}", parts)] if inner == fused[0] else []
            continue
        is_paired = architecture(model) == "llama" and inner in fused[:2]
        head_dim = model.head_dim if is_paired else None
        found.append(Rule(f"{block}{MODULES[inner]}.{kind}", (ours,), paired_head_dim=head_dim))
    return found
