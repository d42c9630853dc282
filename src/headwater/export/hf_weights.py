"""Our parameters under the names and layouts that transformers gives them: a table for each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import ExportError
from headwater.model.settings import ModelSettings


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


def hf_tensors(state: Mapping[str, Tensor], model: ModelSettings) -> dict[str, Tensor]:
    """Return the tensors of a transformers model of the same family, equal to `state`.

    Raises ExportError naming every parameter that is missing, left over, or not of the shape the settings give:
    a model that lacks one loads elsewhere without a word and talks nonsense.
    """
    rules = export_rules(model)
    _check_complete(state, rules)
    expected = (model.vocab_size, model.d_model)
    if state["embed.weight"].shape != expected:
        raise ExportError(
            f"embed.weight is {tuple(state['embed.weight'].shape)} and the settings say {expected}; "
            "the weights and the settings come from different runs"
        )
    return {rule.theirs: rule.combine(*(state[name] for name in rule.ours)).contiguous() for rule in rules}


def _check_complete(state: Mapping[str, Tensor], rules: list[Rule]) -> None:
    needed = [name for rule in rules for name in rule.ours]
    assert len(needed) == len(set(needed)), "a parameter is in two rules"
    missing = [name for name in needed if name not in state]
    left_over = sorted(set(state) - set(needed))
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
