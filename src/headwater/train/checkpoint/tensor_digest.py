"""A digest of a tensor's bits that is the same however the tensor was divided: every part adds its own to it.

The bits are read as words of at most 32 bits. Each is multiplied by an odd random number of its row and one of its
column, and all are added modulo 2^64; two such sums with other numbers are the digest. So a single changed bit always
shows, and any other change but for one in 2^64. It finds errors, not those who would forge it: files have SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

SALTS = ((0x1B873593CC9E2D51, 0x52DCE72938495AB7), (0x38B34AE5A1E38B93, 0x2545F4914F6CDD1D))  # of (rows, columns)
PREFIX = "sum128:"


def tensor_digest(tensor: Tensor, offsets: Sequence[int] = (), whole_shape: Sequence[int] = ()) -> str:
    """Return what `tensor` adds to the digest of the tensor of `whole_shape` in which it lies at `offsets`.

    Without these it is a whole tensor, and the digest its own.
    """
    offsets, whole_shape = offsets or [0] * tensor.dim(), whole_shape or tensor.shape
    if tensor.numel() == 0:
        return _text([0, 0])
    words_RC, words_per_element = _words(tensor)
    first_column = offsets[-1] * words_per_element if offsets else 0
    columns_C = first_column + np.arange(words_RC.shape[1], dtype=np.uint64)
    rows_R = _row_numbers(tensor.shape[:-1], offsets[:-1], whole_shape[:-1])
    sums = []
    for row_salt, column_salt in SALTS:
        # einsum casts a part at a time: no copy of 64 bits of the whole tensor is made
        by_row_R = np.einsum(
            "rc,c->r", words_RC, _odd_numbers(columns_C, column_salt), dtype=np.uint64, casting="unsafe"
        )
        sums.append(int(np.sum(by_row_R * _odd_numbers(rows_R, row_salt), dtype=np.uint64)))
    return _text(sums)


def add_digests(digests: Iterable[str]) -> str:
    """Return the digest of the tensor whose parts have these."""
    parts = [digest.removeprefix(PREFIX) for digest in digests]
    return _text([sum(int(part[at : at + 16], 16) for part in parts) % (1 << 64) for at in (0, 16)])


def _text(sums: Sequence[int]) -> str:
    return PREFIX + "".join(f"{each:016x}" for each in sums)


def _words(tensor: Tensor) -> tuple[np.ndarray, int]:
    """Return a tensor's bits as (rows, columns), and how many words an element has."""
    flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    size = min(tensor.element_size(), 4)
    num_columns = (tensor.shape[-1] if tensor.dim() else 1) * tensor.element_size() // size
    return flat.view(f"<u{size}").reshape(-1, num_columns), tensor.element_size() // size


def _row_numbers(shape: Sequence[int], offsets: Sequence[int], whole_shape: Sequence[int]) -> np.ndarray:
    """Return the number that each row of a box has among all rows of the whole."""
    numbers = np.zeros(1, dtype=np.uint64)
    for size, offset, whole in zip(shape, offsets, whole_shape, strict=True):
        along = np.arange(offset, offset + size, dtype=np.uint64)
        numbers = (numbers[:, None] * np.uint64(whole) + along).reshape(-1)
    return numbers


def _odd_numbers(numbers: np.ndarray, salt: int) -> np.ndarray:
    """Return an odd pseudo-random number of 64 bits for each one: SplitMix64 (Steele et al., 2014)."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
