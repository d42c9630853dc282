from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.errors import StoreError
from headwater.tokens.batches.pack import pack

document_lengths = st.lists(st.integers(2, 60), max_size=60)  # begin and end included


def starts_of(lengths) -> np.ndarray:
    return np.cumsum([0, *lengths])


def rows_of(index):
    pairs = list(zip(index.chunk_start.tolist(), index.chunk_len.tolist()))
    return [pairs[first:stop] for first, stop in zip(index.row_ptr[:-1], index.row_ptr[1:])]


def packed_plainly(lengths, seq_len):
    """The definition: full chunks in the order of the store, then the longest first, each into the row with the least
    room that holds it, of several the one that came to that room last; a new row where none does."""
    chunks = [
        (start + at, min(seq_len, length - 1 - at))
        for start, length in zip(starts_of(lengths).tolist(), lengths)
        for at in range(0, length - 1, seq_len)
    ]
    rows = [[chunk] for chunk in chunks if chunk[1] == seq_len]
    last_changed: dict[int, int] = {}
    for moment, chunk in enumerate(sorted((each for each in chunks if each[1] < seq_len), key=lambda each: -each[1])):
        room = {number: seq_len - sum(length for _, length in row) for number, row in enumerate(rows)}
        fitting = [number for number in room if room[number] >= chunk[1]]
        if not fitting:
            rows.append([])
        best = min(fitting, key=lambda number: (room[number], -last_changed[number]), default=len(rows) - 1)
        rows[best].append(chunk)
        last_changed[best] = moment
    return rows


@given(document_lengths, st.integers(1, 40))
@example([], 8)
@example([25], 10)  # cut at tokens that both chunks share
@example([11, 12], 10)  # the first just fits
def test_the_rows_are_those_of_best_fit_by_its_definition(lengths, seq_len):
    index = pack(starts_of(lengths), seq_len)
    assert rows_of(index) == packed_plainly(lengths, seq_len)
    assert index.num_rows == len(index.row_ptr) - 1 and index.row_ptr[-1] == len(index.chunk_start)
    positions, targets = index.num_rows * seq_len, sum(lengths) - len(lengths)
    assert (index.num_targets, index.padding_fraction) == (
        targets,
        pytest.approx(1 - targets / positions if targets else 0),
    )


def test_a_row_of_no_position_is_an_error():
    with pytest.raises(StoreError, match="seq_len=0"):
        pack(np.array([0, 5]), 0)
