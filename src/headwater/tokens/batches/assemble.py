"""Fill batches from packed rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from headwater.tokens.batches.order import order_key, permute
from headwater.tokens.batches.pack import PackedSource

NO_TARGET = -1


# B rows · T positions (seq_len)
@dataclass(frozen=True)
class Batch:
    """Rows of token ids with their targets.

    tokens_BT      int32, padding is the pad token
    targets_BT     int64, the token after each token; -1 at padding, and where it isn't learned (a user's words)
    documents_BT   int32, number of the document within its row, from 0; padding has the next free number
    num_targets    targets that are not -1
    first_row      global number of the first row
    """

    tokens_BT: np.ndarray
    targets_BT: np.ndarray
    documents_BT: np.ndarray
    num_targets: int
    first_row: int

    def cut(self, parts: int) -> Batch:
        """Return the same tokens and targets with each row as `parts` rows of its own, (parts × B, T / parts)."""
        shape = (self.tokens_BT.shape[0] * parts, self.tokens_BT.shape[1] // parts)
        return replace(
            self,
            tokens_BT=self.tokens_BT.reshape(shape),
            targets_BT=self.targets_BT.reshape(shape),
            documents_BT=self.documents_BT.reshape(shape),
        )


def empty_batch(num_rows: int, seq_len: int, pad_id: int, first_row: int) -> Batch:
    shape = (num_rows, seq_len)
    return Batch(
        tokens_BT=np.full(shape, pad_id, dtype=np.int32),
        targets_BT=np.full(shape, NO_TARGET, dtype=np.int64),
        documents_BT=np.zeros(shape, dtype=np.int32),
        num_targets=0,
        first_row=first_row,
    )


def fill_(batch: Batch, places: np.ndarray, source: PackedSource, rows: np.ndarray) -> int:
    """Write rows of a source at the given places of a batch; return the number of targets written."""
    index = source.index
    first, counts = index.row_ptr[rows], index.row_ptr[rows + 1] - index.row_ptr[rows]
    within_row = _count_up(counts)
    chunk = np.repeat(first, counts) + within_row
    lengths = index.chunk_len[chunk]
    before = np.cumsum(lengths) - lengths
    within = before - np.repeat(before[within_row == 0], counts)  # where in its row each chunk begins
    to = _ranges(np.repeat(places, counts) * index.seq_len + within, lengths)
    positions = _ranges(index.chunk_start[chunk], lengths)
    batch.tokens_BT.reshape(-1)[to] = source.store.gather(positions)
    targets = source.store.gather(positions + 1)
    if source.store.has_targets:
        targets[~source.store.are_targets(positions + 1)] = NO_TARGET
    batch.targets_BT.reshape(-1)[to] = targets
    batch.documents_BT[places] = counts[:, None]
    batch.documents_BT.reshape(-1)[to] = np.repeat(within_row, lengths)
    return int((targets != NO_TARGET).sum())


def _count_up(counts: np.ndarray) -> np.ndarray:
    """Return 0 .. counts[0] - 1, 0 .. counts[1] - 1, …"""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return starts[0] .. starts[0] + lengths[0] - 1, starts[1] …"""
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def sequential_batches(source: PackedSource, rows_per_batch: int, rows: Iterable[int] | None = None) -> Iterator[Batch]:
    """Yield every row of a source once, or those of `rows`, in that order, `rows_per_batch` at a time.

    The last batch has the rows that are left, filled up with rows of padding, which have no targets, to a multiple of a
    quarter of `rows_per_batch`: what is compiled for each shape is compiled for four at most, and little is computed
    for nothing.
    """
    quarter = -(-rows_per_batch // 4)
    chosen = np.arange(source.num_rows) if rows is None else np.fromiter(rows, dtype=np.int64)
    for first in range(0, len(chosen), rows_per_batch):
        part = chosen[first : first + rows_per_batch]
        num_rows = min(rows_per_batch, -(-len(part) // quarter) * quarter)
        batch = empty_batch(num_rows, source.index.seq_len, source.store.pad_id, first)
        num_targets = fill_(batch, np.arange(len(part)), source, part)
        yield replace(batch, num_targets=num_targets)


def sample_rows(source: PackedSource, num_rows: int, seed: int) -> np.ndarray:
    """Return at most `num_rows` rows of a source, the first of a fixed shuffled order: a larger sample extends it."""
    count = min(num_rows, source.num_rows)
    return permute(source.num_rows, order_key(seed, "sample", 0), np.arange(count))
