"""Into which blocks Muon cuts a matrix. No torch."""

from __future__ import annotations


def rows_of_block(shorter_side: int, most: int | None) -> int:
    """Return the rows of a block: the largest divisor of a matrix's shorter side that is at most `most`.

    The whole side where `most` is None, or where no divisor is at least a quarter of it (a prime, say).
    """
    if most is None or shorter_side <= most:
        return shorter_side
    divisor = next(rows for rows in range(most, 0, -1) if shorter_side % rows == 0)
    return divisor if 4 * divisor >= most else shorter_side
