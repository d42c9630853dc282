"""What other programs call our parameters and settings: one table for each, from which models are written and read.

A tensor of theirs is one of ours, or several under one name, one below the other; transformers' GPT-2 turns it on its
side. So each of ours is a number of rows, or of columns, in one of theirs. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from headwater.model.count import Shape, block_shapes, outside_shapes
from headwater.model.settings import Family, ModelSettings

Program = Literal["transformers", "llama.cpp"]
# by ours, what transformers calls it, what its GPT-2 does, and the same two of llama.cpp
SETTINGS = {
    "num_layers": ("num_hidden_layers", "n_layer", "block_count", "block_count"),
    "d_model": ("hidden_size", "n_embd", "embedding_length", "embedding_length"),
    "d_ff": ("intermediate_size", "n_inner", "feed_forward_length", "feed_forward_length"),
    "num_heads": ("num_attention_heads", "n_head", "attention.head_count", "attention.head_count"),
    "num_positions": ("max_position_embeddings", "n_positions", "context_length", "context_length"),
    "num_kv_heads": ("num_key_value_heads", "", "attention.head_count_kv", "attention.head_count_kv"),
    "norm_eps": (
        *("rms_norm_eps", "layer_norm_epsilon"),
        *("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"),
    ),
    "vocab_size": ("vocab_size", "vocab_size", "vocab_size", "vocab_size"),
    "head_dim": ("head_dim", "", "attention.key_length", ""),
    "rope_theta": ("rope_theta", "", "rope.freq_base", ""),
    "tied_embeddings": ("tie_word_embeddings", "tie_word_embeddings", "", ""),
}
OUTSIDE = {
    "embed": ("model.embed_tokens", "transformer.wte", "token_embd", "token_embd"),
    "positions": ("", "transformer.wpe", "", "position_embd"),
    "final_norm": ("model.norm", "transformer.ln_f", "output_norm", "output_norm"),
    "head": ("lm_head", "lm_head", "output", "output"),
}
IN_BLOCK = {
    "attention_norm": ("input_layernorm", "ln_1", "attn_norm", "attn_norm"),
    "attention.query": ("self_attn.q_proj", "attn.c_attn", "attn_q", "attn_qkv"),
    "attention.key": ("self_attn.k_proj", "attn.c_attn", "attn_k", "attn_qkv"),
    "attention.value": ("self_attn.v_proj", "attn.c_attn", "attn_v", "attn_qkv"),
    "attention.out": ("self_attn.o_proj", "attn.c_proj", "attn_output", "attn_output"),
    "mlp_norm": ("post_attention_layernorm", "ln_2", "ffn_norm", "ffn_norm"),
    "mlp.gate": ("mlp.gate_proj", "", "ffn_gate", ""),
    "mlp.up": ("mlp.up_proj", "mlp.c_fc", "ffn_up", "ffn_up"),
    "mlp.down": ("mlp.down_proj", "mlp.c_proj", "ffn_down", "ffn_down"),
    "attention.query_norm": ("self_attn.q_norm", "", "attn_q_norm", ""),
    "attention.key_norm": ("self_attn.k_norm", "", "attn_k_norm", ""),
}
BLOCKS = {"transformers": ("model.layers", "transformer.h"), "llama.cpp": ("blk", "blk")}
ARCHITECTURES: dict[str, Family] = {"llama": "llama", "qwen2": "llama", "qwen3": "qwen3", "gpt2": "gpt2"}
"Families by llama.cpp's names."
PRE_TOKENIZERS = {
    "gpt2": "gpt-2",
    "smollm": "smollm",
    "qwen2": "qwen2",
    "llama3": "llama-bpe",
    "deepseek-llm": "deepseek-llm",
    "deepseek-coder": "deepseek-coder",
    "deepseek-v3": "deepseek-v3",
}
"llama.cpp's, by the names of tokenizer.foreign.PATTERNS."
ROLES = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding"}
"llama.cpp's names of special tokens, by those of transformers."
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # llama.cpp's types of tokens


def architecture(model: ModelSettings) -> str:
    """Return llama.cpp's name for the model: a llama with biases is their qwen2."""
    return "qwen2" if model.family == "llama" and model.attention_bias else model.family


def settings_names(program: Program, family: Family) -> dict[str, str]:
    """Return by our name of a setting theirs, where they have one."""
    return {ours: names[at] for at in [_column(program, family)] for ours, names in SETTINGS.items() if names[at]}


def _column(program: Program, family: Family) -> int:
    return 2 * (program == "llama.cpp") + (family == "gpt2")


@dataclass(frozen=True)
class Rule:
    """One tensor of theirs, and of which it is made of ours; of none: `width` zeros."""

    theirs: str
    ours: tuple[str, ...]
    is_transposed: bool = False
    "GPT-2's Conv1D holds (in, out) where a Linear holds (out, in)."
    width: int = 0
    paired_head_dim: int | None = None
    "Of heads whose rotary pairs are neighbouring rows there, where ours are half a head apart."


@dataclass(frozen=True)
class ForeignPlace:
    """Where a parameter of ours is in theirs: its rows begin at `first_row` of that tensor, or of its transpose."""

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


def rules(model: ModelSettings, program: Program = "transformers") -> list[Rule]:
    """Return a rule for every tensor that the program has for the model, in the order of its files."""
    parts: dict[str, list[str]] = {}
    all_shapes = shapes(model)
    in_order = sorted(all_shapes, key=lambda ours: _order(ours, model)) if program == "transformers" else all_shapes
    for ours in in_order:
        parts.setdefault(_their_name(ours, program, model), []).append(ours)
    is_paired = program == "llama.cpp" and architecture(model) == "llama"
    is_turned = program == "transformers" and model.family == "gpt2"
    found = []
    for theirs, joined in parts.items():
        *modules, _ = joined[0].split(".")
        is_transposed = is_turned and modules[0] == "blocks" and len(all_shapes[joined[0]]) == 2
        head_dim = model.head_dim if is_paired and modules[-1] in ("query", "key") else None
        found.append(Rule(theirs, tuple(joined), is_transposed, paired_head_dim=head_dim))
        if (
            program == "transformers"
            and model.family == "qwen3"
            and model.attention_bias
            and theirs.endswith("v_proj.bias")
        ):  # theirs has a fourth one, where ours has none
            found.append(Rule(theirs.replace("v_proj", "o_proj"), (), width=model.d_model))
    return found


def _split(ours: str) -> tuple[int, str, str]:
    """Return the number of its block, -1 outside, its module, and whether it is a weight or a bias."""
    first, *rest = ours.split(".")
    return (int(rest[0]), ".".join(rest[1:-1]), rest[-1]) if first == "blocks" else (-1, first, rest[-1])


def _their_name(ours: str, program: Program, model: ModelSettings) -> str:
    block, module, kind = _split(ours)
    at = _column(program, model.family)
    if block < 0:
        return f"{OUTSIDE[module][at]}.{kind}"
    return f"{BLOCKS[program][at % 2]}.{block}.{IN_BLOCK[module][at]}.{kind}"


def _order(ours: str, model: ModelSettings) -> tuple[bool, int, int, int]:
    """Return what puts the head last; in a block of GPT-2 what is fused and the norms first, in others biases last."""
    block, module, kind = _split(ours)
    is_bias, at = int(kind == "bias"), [*OUTSIDE, *IN_BLOCK].index(module)
    if model.family == "gpt2" and block >= 0:
        group = 0 if module in ("attention.query", "attention.key", "attention.value") else 1 + ("norm" not in module)
        return False, block, group * 100 + (at if group else is_bias), is_bias if group else at
    return module == "head", block, is_bias, at


def places(model: ModelSettings, rules: Iterable[Rule]) -> dict[str, ForeignPlace]:
    """Return where each of our parameters is in theirs."""
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


def _places_in(rule: Rule, ours: dict[str, Shape]) -> Iterator[tuple[str, ForeignPlace]]:
    first_row = 0
    for name in rule.ours:
        yield name, ForeignPlace(rule.theirs, first_row, rule.is_transposed, rule.paired_head_dim)
        first_row += ours[name][0]
