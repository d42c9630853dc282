"""Sizes that a published row omits: MLP width, heads of keys, experts, from the number of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.errors import DataError
from headwater.forecast.count import count_params
from headwater.forecast.shape import Experts, GroupedAttention, Layer, Mlp, Shape

LARGE_VOCABULARY = 100_000
"Models with that many tokens came with grouped heads and untied embeddings."


@dataclass(frozen=True)
class Sizes:
    """What a row says. `params` None: the usual shape; `active` below it: a mixture of experts."""

    num_layers: int
    d_model: int
    num_heads: int
    vocab_size: int
    seq_len: int
    params: float | None = None
    active: float | None = None
    num_kv_heads: int | None = None
    d_ff: int | None = None


def infer_shape(sizes: Sizes) -> Shape:
    """Return the shape whose parameters come nearest to those stated.

    Tried are MLPs with and without gate, tied and untied, grouped or not, of the stated or four times the model's
    width; where none comes near, the width of a gated MLP follows from the parameters.
    """
    if sizes.num_heads < 1 or sizes.d_model % sizes.num_heads:
        raise DataError(f"d_model={sizes.d_model} is no multiple of n_heads={sizes.num_heads}")
    if sizes.params and sizes.active and sizes.active < 0.9 * sizes.params:
        return _mixture(sizes)
    candidates = list(_candidates(sizes))
    if sizes.params is None:
        return candidates[0]
    best = min(candidates, key=lambda shape: _miss(shape, sizes))
    near = 0.05 if sizes.d_ff else 0.035 if sizes.vocab_size < LARGE_VOCABULARY else 0.003
    return best if _miss(best, sizes) <= near else _solved(sizes)


def _miss(shape: Shape, sizes: Sizes) -> float:
    assert sizes.params is not None
    return abs(count_params(shape).total / sizes.params - 1)


def _candidates(sizes: Sizes) -> Iterator[Shape]:
    heads = [sizes.num_kv_heads] if sizes.num_kv_heads else [sizes.num_heads]
    if not sizes.num_kv_heads and sizes.num_heads % 8 == 0 and sizes.vocab_size >= LARGE_VOCABULARY:
        heads.append(8)
    for kv_heads in heads:
        d_ff = sizes.d_ff or 4 * sizes.d_model
        gates = (2, 3) if d_ff == 4 * sizes.d_model else (3, 2)
        for num_matrices in gates:
            for is_tied in (False, True) if sizes.params is None else (True, False):
                yield _shape(sizes, kv_heads, Mlp(d_ff, num_matrices), is_tied=is_tied)


def _solved(sizes: Sizes) -> Shape:
    """Return a Llama-like shape whose MLP is as wide as the parameters ask, in steps of 128."""
    assert sizes.params is not None
    grouped = sizes.num_heads % 8 == 0 and sizes.vocab_size >= LARGE_VOCABULARY
    kv_heads = sizes.num_kv_heads or (8 if grouped else sizes.num_heads)
    rest = count_params(_shape(sizes, kv_heads, Mlp(0), is_tied=False)).total
    d_ff = round((sizes.params - rest) / (3 * sizes.d_model * sizes.num_layers) / 128) * 128
    if d_ff < 1:
        raise DataError(
            f"params={sizes.params:.4g} are fewer than attention and embeddings of {sizes.num_layers} layers of width "
            f"{sizes.d_model} need ({rest:,}); check params, n_layers, d_model and vocab"
        )
    return _shape(sizes, kv_heads, Mlp(d_ff), is_tied=False)


def _mixture(sizes: Sizes) -> Shape:
    """Return experts such that all and the active ones add up: a token takes 8 of many, or 2 of few."""
    assert sizes.params is not None
    assert sizes.active is not None
    kv_heads = sizes.num_kv_heads or sizes.num_heads
    rest = count_params(_shape(sizes, kv_heads, Mlp(0), is_tied=False)).total
    active, total = sizes.active - rest, sizes.params - rest
    if active <= 0:
        raise DataError(f"params_active={sizes.active:.4g} are fewer than attention and embeddings need ({rest:,})")
    num_active = 8 if sizes.params > 4.5 * sizes.active else 2
    width = max(1, round(active / (3 * sizes.d_model * sizes.num_layers * num_active)))
    num_experts = 8 * max(1, round(num_active * total / active / 8))
    experts = Experts(max(num_active, num_experts), num_active, width)
    return _shape(sizes, kv_heads, experts, is_tied=False)


def _shape(sizes: Sizes, kv_heads: int, mlp: Mlp | Experts, *, is_tied: bool) -> Shape:
    attention = GroupedAttention(sizes.num_heads, kv_heads, sizes.d_model // sizes.num_heads)
    layer = Layer(attention, mlp, 2 * sizes.d_model)
    return Shape(sizes.vocab_size, sizes.d_model, sizes.seq_len, (layer,) * sizes.num_layers, is_tied)
