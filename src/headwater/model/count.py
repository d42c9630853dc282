"""Parameters, FLOPs and bytes of a model, exactly, from its settings alone. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from headwater.model.settings import ModelSettings

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: `total`, those of the token (and position) embedding, those multiplied per token.

    `matmul` counts every weight that a token is multiplied by, the head included even when it is tied.
    """

    total: int
    embedding: int
    matmul: int


@dataclass(frozen=True)
class ModelCount:
    """What the conventions of FLOPs need to know of any model.

    `active` is `total` without the experts that a token doesn't take, `head` the weights of the output head, which
    `matmul` includes. `attention` holds for each layer heads × (width of a key + width of a value), and the window in
    tokens, None where a query sees all tokens before it.
    """

    total: int
    active: int
    embedding: int
    matmul: int
    head: int
    seq_len: int
    attention: tuple[tuple[int, int | None], ...]


def count_model(model: ModelSettings) -> ModelCount:
    """Return the count of one of headwater's own families."""
    params = count_parameters(model)
    return ModelCount(
        total=params.total,
        active=params.total,
        embedding=params.embedding,
        matmul=params.matmul,
        head=model.vocab_size * model.d_model,
        seq_len=model.seq_len,
        attention=((2 * model.num_heads * model.head_dim, model.sliding_window),) * model.num_layers,
    )


def block_shapes(model: ModelSettings) -> dict[str, Shape]:
    """Return the shapes of a block's parameters by their names, matrices first."""
    width, query, key = model.d_model, model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    heads = {"query": (query, width), "key": (key, width), "value": (key, width)}
    gate = {} if model.family == "gpt2" else {"gate": (model.d_ff, width)}
    found = {**heads, "out": (width, query), **gate, "up": (model.d_ff, width), "down": (width, model.d_ff)}
    biases = found if model.family == "gpt2" else heads if model.attention_bias else ()
    norms = {"attention_norm": width, "mlp_norm": width}
    norms |= {"query_norm": model.head_dim, "key_norm": model.head_dim} if model.family == "qwen3" else {}
    return {
        **{f"{name}.weight": shape for name, shape in found.items()},
        **{f"{name}.bias": found[name][:1] for name in biases},
        **_norm_shapes(model, norms),
    }


def outside_shapes(model: ModelSettings) -> dict[str, Shape]:
    """Return the shapes of all other parameters: embeddings, the head where it is not tied, the last norm."""
    tables = {"embed.weight": model.vocab_size} | ({} if model.tied_embeddings else {"head.weight": model.vocab_size})
    tables |= {"positions.weight": model.num_positions} if model.family == "gpt2" else {}
    shapes = {name: (rows, model.d_model) for name, rows in tables.items()}
    return {**shapes, **_norm_shapes(model, {"final_norm": model.d_model})}


def _norm_shapes(model: ModelSettings, widths: dict[str, int]) -> dict[str, Shape]:
    kinds = ("weight", "bias") if model.family == "gpt2" else ("weight",)
    return {f"{name}.{kind}": (width,) for name, width in widths.items() for kind in kinds}


def count_parameters(model: ModelSettings) -> ParameterCount:
    """Return what `Transformer(model).parameters()` would add up to."""
    block, embedding = block_shapes(model).values(), model.vocab_size * model.d_model
    total = model.num_layers * sum(map(prod, block)) + sum(map(prod, outside_shapes(model).values()))
    positions = model.num_positions * model.d_model if model.family == "gpt2" else 0
    matrices = model.num_layers * sum(prod(shape) for shape in block if len(shape) == 2)
    return ParameterCount(total=total, embedding=embedding + positions, matmul=matrices + embedding)


def flops_per_token(model: ModelSettings, half_length_fraction: float = 0.0) -> float:
    """Return forward and backward FLOPs of one trained token: 6 a matmul weight, and attention's causal half.

    A token at position t attends to t + 1 tokens, (seq_len + 1) / 2 on average, or to the window: scores and values
    take 2 × 2 × num_heads × head_dim FLOPs each forward, three times that with the backward pass. Nothing recomputed is
    counted, nor norms, activations and the optimizer (model FLOPs, arXiv:2204.02311, appendix B). A fraction of the
    tokens may be in sequences of half the length.
    """
    whole, half = (mean_attended(length, model.sliding_window) for length in (model.seq_len, model.seq_len / 2))
    attended = whole + half_length_fraction * (half - whole)
    attention = 12 * model.num_layers * model.num_heads * model.head_dim * attended
    return 6 * count_parameters(model).matmul + attention


def mean_attended(seq_len: float, window: int | None) -> float:
    """Return the mean number of tokens that a token of a sequence of one document sees, itself among them."""
    if window is None or window >= seq_len:
        return (seq_len + 1) / 2
    return window - window * (window - 1) / (2 * seq_len)


# ---- FLOPs in the conventions that people quote


@dataclass(frozen=True)
class FlopsPerToken:
    """Forward and backward FLOPs of one trained token, by convention.

    six_n: 6 × active parameters, embeddings among them, as arXiv:2203.15556 counts N (arXiv:2001.08361 leaves the
        embeddings out of its N).
    palm: 6 × active parameters and full attention, 12 × layers × heads × head_dim × seq_len (arXiv:2204.02311,
        appendix B); what llm-foundry and most MFU figures use.
    full_attention: 6 × the weights that are multiplied by, and full attention inside windows.
    causal: the same with the half of attention that a causal mask leaves: what the mathematics needs.
    hardware: `causal`, and what is computed again: by the recomputation policy, and by flash attention's backward pass.
    """

    six_n: float
    palm: float
    full_attention: float
    causal: float
    hardware: float


def attention_flops(model: ModelCount) -> tuple[float, float]:
    """Return forward FLOPs of scores and sums of values for one token: with a causal mask, and without one.

    2 FLOPs a key and channel for scores, 2 for sums of values; a window hides what is further away in both.
    """
    causal = full = 0.0
    for (width, window), num in Counter(model.attention).items():
        causal += num * 2 * width * mean_attended(model.seq_len, window)
        full += num * 2 * width * min(model.seq_len, window or model.seq_len)
    return causal, full


def count_flops(model: ModelCount) -> FlopsPerToken:
    """Return FLOPs per token at `model.seq_len`.

    The hardware computes attention's scores again in the backward pass: flash attention keeps none, half of its
    forward FLOPs (arXiv:2307.08691, section 3.1). Blocks that are recomputed (train.recompute) come on top.
    """
    causal, full = attention_flops(model)
    unwindowed = sum(2 * width * model.seq_len for width, _ in model.attention)
    return FlopsPerToken(
        six_n=6 * model.active,
        palm=6 * model.active + 3 * unwindowed,
        full_attention=6 * model.matmul + 3 * full,
        causal=6 * model.matmul + 3 * causal,
        hardware=6 * model.matmul + 3 * causal + causal / 2,
    )


def count_fields(model: ModelCount) -> dict[str, Any]:
    """Return what `headwater plan count --json` prints."""
    return {
        "params": model.total,
        "active_params": model.active,
        "embedding_params": model.embedding,
        "matmul_params": model.matmul,
        "seq_len": model.seq_len,
        "flops_per_token": asdict(count_flops(model)),
    }
