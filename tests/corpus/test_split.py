from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.split import (
    MAX_VALIDATION_BYTES_FRACTION,
    MIN_TAIL_BYTES,
    NEVER_HELD_OUT,
    Split,
    SplitTally,
    split_hash,
    usual_share,
)

HASHES = st.integers(0, 2**64 - 1)
DOCUMENTS = st.lists(st.tuples(HASHES, st.integers(1, 100_000)), max_size=60)


def split(hashes, sizes, fraction, piece=1000):
    """Return the split of documents taken up in pieces."""
    tally = SplitTally(fraction)
    for start in range(0, len(hashes), piece):
        some = range(start, min(start + piece, len(hashes)))
        columns = ([values[number] for number in some] for values in (hashes, sizes))
        tally.add_(np.array(some), *(np.array(column, dtype=np.uint64) for column in columns))
    return tally.split()


def held_out(chosen, hashes):
    return {number for number, value in enumerate(hashes) if chosen.is_held_out(value)}


def test_about_the_fraction_requested_is_held_out():
    hashes = [split_hash(f"text {number}", 0) for number in range(20_000)]
    chosen = held_out(split(hashes, [1000] * len(hashes), 0.02), hashes)
    assert 0.017 < len(chosen) / len(hashes) < 0.023


@pytest.mark.parametrize("number", [10, 50, 240])
def test_the_usual_share_is_the_mean_over_seeds(number):
    shares = []
    for seed in range(40):
        hashes = [split_hash(f"text {each}", seed) for each in range(number)]
        shares.append(len(held_out(split(hashes, [5000] * number, 0.02), hashes)) / number)
    assert usual_share(number, 0.02) == pytest.approx(np.mean(shares), rel=0.15)


def test_a_new_document_moves_no_other():
    texts = [f"text {number}" for number in range(2000)]
    sides = {}
    for count in (1500, 2000):
        hashes = [split_hash(text, 0) for text in texts[:count]]
        sides[count] = {texts[number] for number in held_out(split(hashes, [100] * count, 0.05), hashes)}
    assert sides[1500] == sides[2000] & set(texts[:1500])


@pytest.mark.parametrize(
    ("number", "size", "fraction", "num_held_out"),
    [
        (12, 50_000, 0.001, 1),
        *((number, 50_000, 0.004, some) for number, some in ((19, 1), (30, 3), (50, 5), (100, 5), (240, 5))),
        (1000, 5000, 0.3, 5),  # too much was chosen
    ],
)
def test_of_documents_of_one_size_five_are_held_out_where_these_are_a_tenth_of_the_text(
    number, size, fraction, num_held_out
):
    """A loss on one document would say little."""
    hashes = [split_hash(str(each), 0) for each in range(number)]
    chosen = held_out(split(hashes, [size] * number, fraction), hashes)
    assert {hashes[each] for each in chosen} == set(sorted(hashes)[:num_held_out])


@pytest.mark.parametrize(
    ("hashes", "sizes", "expected"),
    [
        ([2**63], [100_000], Split(tail_of=0, tail_bytes=2000)),
        ([2**63], [700], Split()),
        ([], [], Split()),
        ([7, 7, 7], [300, 300, 300], Split()),  # parts of one document: else nothing would be left to train on
    ],
)
def test_one_document_gives_its_end_if_it_is_long(hashes, sizes, expected):
    assert split(hashes, sizes, 0.02) == expected


@given(DOCUMENTS, st.data(), st.floats(0.001, 0.4))
def test_what_must_be_trained_on_is_held_out_only_if_nothing_else_is_there(documents, data, fraction):
    hashes, sizes = [value for value, _ in documents], [size for _, size in documents]
    never = data.draw(st.sets(st.integers(0, max(len(hashes) - 1, 0)))) if hashes else set()
    hashes = [
        NEVER_HELD_OUT if number in never else min(value, NEVER_HELD_OUT - 1) for number, value in enumerate(hashes)
    ]
    chosen = split(hashes, sizes, fraction)
    assert not held_out(chosen, hashes) & never
    if len(never) < len(hashes):
        assert chosen.tail_of not in never


def test_parts_of_one_document_are_held_out_together_or_not_at_all():
    assert held_out(split([7, 2**63, 7, 2**62] + [2**63] * 50, [100] * 54, 0.001), [7, 2**63, 7, 2**62]) == {0, 2, 3}


@pytest.mark.parametrize("num_repositories", [1, 3])
def test_few_repositories_of_many_files_give_the_end_of_one_file(num_repositories):
    hashes = [split_hash(f"repository {number % num_repositories}", 0) for number in range(3000)]
    found = split(hashes, [10_000] * 3000, 0.01)
    assert found == Split(tail_of=0, tail_bytes=5000), "a third of the text, or nothing at all, was held out"


@given(DOCUMENTS, st.floats(0.001, 0.4), st.integers(1, 5))
def test_pieces_of_any_size_give_the_same(documents, fraction, piece):
    hashes, sizes = [value for value, _ in documents], [size for _, size in documents]
    assert split(hashes, sizes, fraction, piece) == split(hashes, sizes, fraction)


@given(DOCUMENTS, st.floats(0.001, 0.4))
def test_training_never_loses_much_where_documents_can_be_cut(documents, fraction):
    hashes, sizes = [value for value, _ in documents], [size for _, size in documents]
    split_found = split(hashes, sizes, fraction)
    chosen = held_out(split_found, hashes)
    assert len(chosen) < max(len(documents), 1), "nothing is left to train on"
    if split_found.tail_of is not None:
        assert not chosen
        assert 2 * split_found.tail_bytes <= sizes[split_found.tail_of]
    elif sum(sizes[number] for number in chosen) > MAX_VALIDATION_BYTES_FRACTION * sum(sizes):
        assert split_found.is_last_resort and {hashes[number] for number in chosen} == {min(hashes)}
        assert max(sizes) < 2 * MIN_TAIL_BYTES, "a document was long enough to hold out its end"
