from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import StoreError
from headwater.tokens.batches.pack import pack

document_lengths = st.lists(st.integers(2, 60), max_size=60)  # begin and end included


def starts_of(lengths) -> np.ndarray:
    return np.cumsum([0, *lengths])


def rows_of(index):
    pairs = list(zip(index.chunk_start.tolist(), index.chunk_len.tolist()))
    return [pairs[first:stop] for first, stop in zip(index.row_ptr[:-1], index.row_ptr[1:])]


@given(document_lengths, st.integers(1, 40))
def test_every_token_but_the_begin_tokens_is_a_target_exactly_once(lengths, seq_len):
    index = pack(starts_of(lengths), seq_len)
    targets = [
        start + 1 + place for start, length in zip(index.chunk_start, index.chunk_len) for place in range(length)
    ]
    begins = set(starts_of(lengths)[:-1].tolist())
    assert sorted(targets) == [token for token in range(sum(lengths)) if token not in begins]


@given(document_lengths, st.integers(1, 40))
def test_no_row_is_empty_or_too_long_and_no_chunk_crosses_documents(lengths, seq_len):
    starts = starts_of(lengths)
    index = pack(starts, seq_len)
    for chunks in rows_of(index):
        assert 0 < sum(length for _, length in chunks) <= seq_len
        for start, length in chunks:
            document = np.searchsorted(starts, start, side="right") - 1
            assert start + length < starts[document + 1]
    assert index.row_ptr[-1] == len(index.chunk_start)
    assert (
        index.padding_fraction == pytest.approx(1 - index.num_targets / max(index.num_rows * seq_len, 1)) or not lengths
    )


def slow_best_fit(lengths, seq_len):
    """The definition: longest first, into the row with the least room left, the latest such row among equals."""
    rows = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if seq_len - sum(row) >= length]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            rows.append([length])
    return rows


@given(st.lists(st.integers(2, 20), max_size=40))
def test_it_uses_as_many_rows_as_best_fit_by_its_definition(lengths):
    index = pack(starts_of(lengths), 19)
    expected = slow_best_fit([length - 1 for length in lengths], 19)
    assert sorted(sorted(length for _, length in row) for row in rows_of(index)) == sorted(map(sorted, expected))


def test_a_long_document_is_cut_at_tokens_that_both_chunks_share():
    index = pack(np.array([0, 25]), 10)
    assert rows_of(index) == [[(0, 10)], [(10, 10)], [(20, 4)]]


def test_a_document_that_just_fits_is_not_cut():
    assert rows_of(pack(np.array([0, 11, 23]), 10)) == [[(0, 10)], [(11, 10)], [(21, 1)]]


def test_many_short_documents_leave_little_padding():
    lengths = np.random.default_rng(0).geometric(1 / 120, size=20_000) + 2
    index = pack(starts_of(lengths), 512)
    assert index.padding_fraction < 0.001, index.padding_fraction


def test_no_document_gives_no_row():
    index = pack(np.array([0]), 8)
    assert (index.num_rows, index.num_targets, index.padding_fraction) == (0, 0, 0.0)


def test_a_row_of_no_position_is_an_error():
    with pytest.raises(StoreError, match="seq_len=0"):
        pack(np.array([0, 5]), 0)
