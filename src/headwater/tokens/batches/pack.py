"""Pack documents into rows of `seq_len` positions: nothing is cropped and every token is predicted once.

A position of a row holds a token and, as its target, the token after it. So a document of n tokens takes n - 1
positions, its last token being a target only. A longer document is cut into chunks of `seq_len` positions; the token
at which it is cut is the target of one chunk and the first token of the next. Chunks are put into rows by best fit
decreasing: Ding et al., "Fewer Truncations Improve Language Modeling" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headwater.core.errors import StoreError
from headwater.core.files import digest_json
from headwater.tokens.read import TokenStore

PACKING = "best-fit-1"


@dataclass(frozen=True)
class RowIndex:
    """Which chunks make each row: row r is the chunks [row_ptr[r], row_ptr[r + 1]), in that order.

    Chunk c is the `chunk_len[c]` positions from token `chunk_start[c]` of the store on (all int64).
    """

    seq_len: int
    row_ptr: np.ndarray
    chunk_start: np.ndarray
    chunk_len: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.row_ptr) - 1

    @cached_property
    def num_targets(self) -> int:
        return int(self.chunk_len.sum())

    @cached_property
    def padding_fraction(self) -> float:
        """Fraction of all positions that hold padding."""
        return 1 - self.num_targets / (self.num_rows * self.seq_len) if self.num_rows else 0.0


@dataclass(frozen=True)
class Passage:
    """A part of a document of `num_tokens`: `num_targets` are predicted, from its token `first_token` + 1 on.

    Of a conversation the assistant's alone are learned.
    """

    document: str
    first_token: int
    num_targets: int
    num_tokens: int


@dataclass(frozen=True)
class PackedSource:
    """A token store and its rows."""

    store: TokenStore
    index: RowIndex

    @property
    def num_rows(self) -> int:
        return self.index.num_rows

    @property
    def num_targets(self) -> int:
        """How many tokens are learned when every row is seen once."""
        return self.store.num_targets if self.store.has_targets else self.index.num_targets

    @property
    def digest(self) -> str:
        """Digest of what decides every row: the store, the row length and the way of packing."""
        return digest_json({"store": self.store.digest, "seq_len": self.index.seq_len, "packing": PACKING})

    def documents_of(self, row: int) -> list[str]:
        """Return the corpus ids of the documents in a row, in order."""
        return [passage.document for passage in self.passages_of(row)]

    def passages_of(self, row: int) -> list[Passage]:
        """Return the passages of documents that a row holds, in order."""
        chunks = slice(self.index.row_ptr[row], self.index.row_ptr[row + 1])
        starts = self.index.chunk_start[chunks]
        numbers = np.searchsorted(self.store.starts, starts, side="right") - 1
        firsts = starts - self.store.starts[numbers]
        lengths = self.store.starts[numbers + 1] - self.store.starts[numbers]
        columns = (numbers, firsts, self.index.chunk_len[chunks], lengths)
        return [
            Passage(self.store.document_id(number), first, targets, length)
            for number, first, targets, length in zip(*(column.tolist() for column in columns), strict=True)
        ]


def targets_of(sources: Mapping[str, PackedSource]) -> dict[str, int] | None:
    """Return the targets of each source, where some of them holds tokens that aren't learned; else None."""
    if not any(source.store.has_targets for source in sources.values()):
        return None
    return {name: source.num_targets for name, source in sources.items()}


def pack_source(store: TokenStore, seq_len: int) -> PackedSource:
    return PackedSource(store, pack(store.starts, seq_len))


def pack(starts: np.ndarray, seq_len: int) -> RowIndex:
    """Return the rows of the documents whose token ranges are [starts[d], starts[d + 1]).

    Deterministic. Full chunks make rows of their own, in the order of the store; the rest follow, longest first.
    """
    if seq_len < 1:
        raise StoreError(f"seq_len={seq_len} must be at least 1")
    chunk_start, chunk_len = _cut(np.asarray(starts, dtype=np.int64), seq_len)
    full = np.flatnonzero(chunk_len == seq_len)
    rest = np.flatnonzero(chunk_len < seq_len)
    rest = rest[np.argsort(-chunk_len[rest], kind="stable")]
    row_of_rest = len(full) + _best_fit(chunk_len[rest], seq_len)
    row = np.concatenate([np.arange(len(full)), row_of_rest])
    by_row = np.argsort(row, kind="stable")
    order = np.concatenate([full, rest])[by_row]
    num_rows = int(row.max()) + 1 if len(row) else 0
    row_ptr = np.searchsorted(row[by_row], np.arange(num_rows + 1)).astype(np.int64)
    return RowIndex(seq_len, row_ptr, chunk_start[order], chunk_len[order])


def _cut(starts: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    num_positions = np.diff(starts) - 1
    num_chunks = -(-num_positions // seq_len)
    document = np.repeat(np.arange(len(num_chunks)), num_chunks)
    first_chunk = np.cumsum(num_chunks) - num_chunks
    offset = (np.arange(len(document)) - first_chunk[document]) * seq_len
    return starts[:-1][document] + offset, np.minimum(num_positions[document] - offset, seq_len)


def _best_fit(lengths: np.ndarray, seq_len: int) -> np.ndarray:
    """Return the row of each length (in falling order): the row with the least room that still holds it."""
    rows_with_room: list[list[int]] = [[] for _ in range(seq_len + 1)]
    rooms = 0  # bit r is set where some row has exactly r positions of room
    num_rows = 0
    result = np.empty(len(lengths), dtype=np.int64)
    for item, length in enumerate(lengths.tolist()):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            rows = rows_with_room[room]
            row = rows.pop()
            if not rows:
                rooms &= ~(1 << room)
        else:
            room, row = seq_len, num_rows
            num_rows += 1
        result[item] = row
        left = room - length
        if left:
            rows_with_room[left].append(row)
            rooms |= 1 << left
    return result
