"""Whether Muon cuts a matrix into blocks, into which, and what products it takes. No torch."""

from __future__ import annotations

BLOCK_ROWS = 128
MAX_MUON_SHARE = 0.15  # of the matrices' own FLOPs in the step
ITERATIONS = 4  # as many as optim.muon has polynomials
MIN_ASPECT = 4  # columns to a row, from where on X X^T is made once: its products, even in fp32, are cheaper than X's


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
