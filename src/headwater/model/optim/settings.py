"""How weights are updated, in which blocks, and on which rank. No torch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from headwater.core.config import Settings

BLOCK_ROWS = 128
MAX_MUON_SHARE = 0.15  # of the matrices' own FLOPs in the step
ITERATIONS = 4  # as many as optim.muon has polynomials
MIN_ASPECT = 4  # columns to a row, from where on X X^T is made once: its products, even in fp32, are cheaper than X's
STACKED_NUMBERS = 1 << 23  # of the matrices orthogonalised together: enough for fast products, 16 MB a copy in bf16


class OptimSettings(Settings):
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""

    name: Literal["muon", "adamw"] = "muon"
    "Rule for the blocks' matrices; embedding, head, norms and biases are always AdamW's."
    matrix_lr: float = Field(gt=0)
    "Peak learning rate of the blocks' matrices."
    embedding_lr: float = Field(gt=0)
    "Peak learning rate of the token and position embeddings."
    head_lr: float = Field(gt=0)
    "Peak learning rate of an untied head."
    vector_lr: float = Field(gt=0)
    "Peak learning rate of norms and biases."
    momentum: float = Field(default=0.95, ge=0, lt=1)
    "Muon's momentum (Nesterov); 0.95 as Jordan 2024."
    block_rows: int | None = Field(default=None, ge=8)
    "Muon makes blocks of at most this many rows of a matrix's shorter side orthogonal; off: the whole matrix."
    beta1: float = Field(default=0.8, ge=0, lt=1)
    "AdamW's decay of the mean gradient; 0.8 as nanochat, for embeddings that change fast."
    beta2: float = Field(default=0.95, ge=0, lt=1)
    "AdamW's decay of the mean squared gradient; 0.95 as GPT-3 (arXiv:2005.14165)."
    eps: float = Field(default=1e-10, gt=0)
    "Added to AdamW's root mean square; small, because rare tokens have small gradients."
    weight_decay: float = Field(ge=0)
    "Decoupled weight decay of the blocks' matrices, times the learning rate, scheduled with it."
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    "Gradients are scaled down to this norm (1 as GPT-3); off: never."


def gram_is_cheaper(rows: int, columns: int) -> bool:
    """Return whether rows × columns is multiplied by its Gram matrix's polynomials once, at the end."""
    return columns >= MIN_ASPECT * rows


def orthogonalisation_flops(rows: int, columns: int, on_processor: bool = True) -> float:
    """Return FLOPs of Muon's iterations for one matrix or block, `rows` the shorter side.

    Of a product of a matrix with itself half is computed (m² n and m³), the product with X takes 2 m² n. A wide one
    takes X X^T and the product with X once on a processor, and products of m × m at 2 m³ (`optim.muon` has thirteen).
    """
    if on_processor and gram_is_cheaper(rows, columns):
        return 3 * rows**2 * columns + (4 * ITERATIONS - 3) * 2 * rows**3
    return ITERATIONS * (3 * rows**2 * columns + rows**3)


def orthogonalisation_share(d_model: int, d_ff: int, batch_tokens: int) -> float:
    """Return FLOPs of Muon's iterations over 6 × weights × tokens, for matrices d_model × d_ff, not cut."""
    shorter, longer = min(d_model, d_ff), max(d_model, d_ff)
    return orthogonalisation_flops(shorter, longer) / (6 * d_model * d_ff * batch_tokens)


def block_rows_for(d_model: int, d_ff: int, batch_tokens: int) -> int | None:
    """Return the rows of Muon's blocks, None where whole matrices are cheap beside the batch."""
    return BLOCK_ROWS if orthogonalisation_share(d_model, d_ff, batch_tokens) > MAX_MUON_SHARE else None


def rows_of_block(shorter_side: int, most: int | None) -> int:
    """Return the rows of a block: the largest divisor of a matrix's shorter side that is at most `most`.

    The whole side where `most` is None, or where no divisor is at least a quarter of `most` (a prime, say).
    """
    if most is None or shorter_side <= most:
        return shorter_side
    divisor = next(rows for rows in range(most, 0, -1) if shorter_side % rows == 0)
    return divisor if 4 * divisor >= most else shorter_side


def stack_size(rows: int, columns: int) -> int:
    """Return how many of Muon's matrices of one shape are made orthogonal together."""
    return max(1, STACKED_NUMBERS // (rows * columns))


def update_cost(shape: Sequence[int], numbers: int, *, is_muon: bool) -> float:
    """Return about what an update of one tensor takes: numbers to pass over, and products of matrices for Muon."""
    return numbers * (1 + min(shape) / 64 if is_muon else 1.0)


def owners_by_cost(costs: Sequence[float], world_size: int) -> list[int]:
    """Return the rank of each part: the most expensive first, each to the rank that has least to do yet."""
    load, owners = [(0.0, rank) for rank in range(min(world_size, len(costs)))], [0] * len(costs)
    for number in sorted(range(len(costs)), key=lambda number: (-costs[number], number)):
        least, owners[number] = load[0]
        heapq.heapreplace(load, (least + costs[number], owners[number]))
    return owners
