"""Sizes that a published row omits: MLP width, heads of keys, from the number of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from costing.transformer import Transformer
from headwater.core.errors import DataError

LARGE_VOCABULARY = 100_000
"Models with that many tokens came with grouped heads and untied embeddings."


@dataclass(frozen=True)
class Sizes:
    """What a row says. `params` None: the usual shape.

    Of a mixture of experts they are the active ones: it is estimated as the dense model that a token meets.
    """

    num_layers: int
    d_model: int
    num_heads: int
    vocab_size: int
    seq_len: int
    params: float | None = None
    num_kv_heads: int | None = None
    d_ff: int | None = None


def infer_shape(sizes: Sizes) -> Transformer:
    """Return the shape whose parameters come nearest to those stated.

    Tried are MLPs with and without gate, tied and untied, grouped or not, of the stated or four times the model's
    width; where none comes near, the width of a gated MLP follows from the parameters.
    """
    if sizes.num_heads < 1 or sizes.d_model % sizes.num_heads:
        raise DataError(f"d_model={sizes.d_model} is no multiple of n_heads={sizes.num_heads}")
    candidates = list(_candidates(sizes))
    if sizes.params is None:
        return candidates[0]
    best = min(candidates, key=lambda shape: _miss(shape, sizes))
    near = 0.05 if sizes.d_ff else 0.035 if sizes.vocab_size < LARGE_VOCABULARY else 0.003
    return best if _miss(best, sizes) <= near else _solved(sizes)


def _miss(shape: Transformer, sizes: Sizes) -> float:
    assert sizes.params is not None
    return abs(shape.num_params / sizes.params - 1)


def _candidates(sizes: Sizes) -> Iterator[Transformer]:
    heads = [sizes.num_kv_heads] if sizes.num_kv_heads else [sizes.num_heads]
    if not sizes.num_kv_heads and sizes.num_heads % 8 == 0 and sizes.vocab_size >= LARGE_VOCABULARY:
        heads.append(8)
    for kv_heads in heads:
        d_ff = sizes.d_ff or 4 * sizes.d_model
        gates = (2, 3) if d_ff == 4 * sizes.d_model else (3, 2)
        for num_matrices in gates:
            for is_tied in (False, True) if sizes.params is None else (True, False):
                yield _shape(sizes, kv_heads, d_ff, num_matrices, is_tied)


def _solved(sizes: Sizes) -> Transformer:
    """Return a Llama-like shape whose MLP is as wide as the parameters ask, in steps of 128."""
    assert sizes.params is not None
    grouped = sizes.num_heads % 8 == 0 and sizes.vocab_size >= LARGE_VOCABULARY
    kv_heads = sizes.num_kv_heads or (8 if grouped else sizes.num_heads)
    rest = _shape(sizes, kv_heads, 0).num_params
    d_ff = round((sizes.params - rest) / (3 * sizes.d_model * sizes.num_layers) / 128) * 128
    if d_ff < 1:
        raise DataError(
            f"params={sizes.params:.4g} are fewer than attention and embeddings of {sizes.num_layers} layers of width "
            f"{sizes.d_model} need ({rest:,}); check params, n_layers, d_model and vocab"
        )
    return _shape(sizes, kv_heads, d_ff)


def _shape(sizes: Sizes, kv_heads: int, d_ff: int, num_matrices: int = 3, is_tied: bool = False) -> Transformer:
    head_dim = sizes.d_model // sizes.num_heads
    return Transformer(
        sizes.num_layers, sizes.d_model, sizes.num_heads, kv_heads, head_dim, d_ff, sizes.vocab_size, sizes.seq_len,
        num_matrices, is_tied, 2 * sizes.d_model * sizes.num_layers,
    )  # fmt: skip
