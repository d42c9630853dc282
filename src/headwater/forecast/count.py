"""Parameters and FLOPs per token of any shape, in the conventions that people quote, side by side. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from headwater.forecast.shape import Shape

Recompute = Literal["none", "selective", "full"]
RECOMPUTES: tuple[Recompute, ...] = get_args(Recompute)


@dataclass(frozen=True)
class Params:
    """Numbers of parameters: all, those a token meets, the embeddings', and those a token is multiplied by.

    `active` is `total` without the experts that a token doesn't take. `matmul` counts the weights a token is
    multiplied by: the head even when it is tied, the experts it takes, no embedding, norm or bias.
    """

    total: int
    active: int
    embedding: int
    matmul: int


@dataclass(frozen=True)
class FlopsPerToken:
    """Forward and backward FLOPs of one trained token, by convention.

    six_n: 6 × active parameters, embeddings among them, as arXiv:2203.15556 counts N (arXiv:2001.08361 doesn't).
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


def count_params(shape: Shape) -> Params:
    """Return exact numbers of parameters."""
    head = shape.vocab_size * shape.d_model
    embedding = head + shape.num_positions * shape.d_model
    rest = embedding + (0 if shape.is_tied else head) + shape.num_end_values
    rest += sum(num * layer.num_values for layer, num in shape.kinds)
    active, total = shape.active_block_weights, shape.block_weights
    return Params(total=total + rest, active=active + rest, embedding=embedding, matmul=active + head)


def keys_seen(seq_len: int, window: int | None) -> float:
    """Return how many keys a query sees on average under a causal mask: (seq_len + 1) / 2 without a window."""
    width = min(seq_len, window or seq_len)
    return (width * (width + 1) / 2 + (seq_len - width) * width) / seq_len


def attention_flops(shape: Shape, seq_len: int | None = None) -> tuple[float, float]:
    """Return forward FLOPs of scores and sums of values for one token: with a causal mask, and without one.

    2 FLOPs a key and channel for scores, 2 for sums of values; a window hides what is further away in both.
    """
    length = seq_len or shape.seq_len
    causal = full = 0.0
    for layer, num in shape.kinds:
        a_key = num * 2 * layer.attention.num_heads * (layer.attention.key_dim + layer.attention.value_dim)
        causal += a_key * keys_seen(length, layer.window)
        full += a_key * min(length, layer.window or length)
    return causal, full


def recomputed_flops(shape: Shape, recompute: Recompute, is_flash: bool = True, part: float = 1.0) -> float:
    """Return FLOPs per token that are computed a second time, where `recompute` applies to a part of the layers.

    Flash attention's backward pass computes the scores again, half of attention's forward FLOPs
    (arXiv:2307.08691, section 3.1); "full" runs each block's forward pass again (arXiv:1604.06174); "selective" runs
    attention's core again, which flash attention does anyway (arXiv:2205.05198).
    """
    causal, full = attention_flops(shape)
    core = causal if is_flash else full
    # without flash attention the masked half is computed and thrown away, forward and backward
    again = causal / 2 if is_flash else 3 * (full - causal)
    if recompute == "full":
        return again + part * (core + 2 * shape.active_block_weights)
    return again + (part * core if recompute == "selective" and not is_flash else 0)


def count_flops(
    shape: Shape, recompute: Recompute = "none", is_flash: bool = True, recomputed_layers: float = 1.0
) -> FlopsPerToken:
    """Return FLOPs per token at `shape.seq_len`.

    `recompute` says what the backward pass computes again, `recomputed_layers` in which part of the layers.
    """
    params = count_params(shape)
    causal, full = attention_flops(shape)
    unwindowed = sum(
        num * 2 * layer.attention.num_heads * (layer.attention.key_dim + layer.attention.value_dim) * shape.seq_len
        for layer, num in shape.kinds
    )
    exact = 6 * params.matmul + 3 * causal
    return FlopsPerToken(
        six_n=6 * params.active,
        palm=6 * params.active + 3 * unwindowed,
        full_attention=6 * params.matmul + 3 * full,
        causal=exact,
        hardware=exact + recomputed_flops(shape, recompute, is_flash, recomputed_layers),
    )


def count_fields(shape: Shape, recompute: Recompute) -> dict[str, Any]:
    """Return what `headwater plan count --json` prints."""
    params = count_params(shape)
    return {
        "params": params.total,
        "active_params": params.active,
        "embedding_params": params.embedding,
        "matmul_params": params.matmul,
        "seq_len": shape.seq_len,
        "recompute": recompute,
        "flops_per_token": asdict(count_flops(shape, recompute)),
    }
