"""How an update's work is divided among ranks, by shapes alone. No torch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

STACKED_NUMBERS = 1 << 23  # of the matrices orthogonalised together: enough for fast products, 16 MB a copy in bf16


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
