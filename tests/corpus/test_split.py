from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.split import MAX_VALIDATION_BYTES_FRACTION, split, split_hash

HASHES = st.integers(0, 2**64 - 1)
DOCUMENTS = st.lists(st.tuples(HASHES, st.integers(1, 100_000)), max_size=60)


def test_about_the_fraction_asked_for_is_held_out():
    hashes = [split_hash(f"text {number}", 0) for number in range(20_000)]
    chosen = split(hashes, [1000] * len(hashes), 0.02)
    assert 0.017 < len(chosen.validation) / len(hashes) < 0.023


def test_a_new_document_moves_no_other():
    texts = [f"text {number}" for number in range(2000)]
    sides = {}
    for count in (1500, 2000):
        chosen = split([split_hash(text, 0) for text in texts[:count]], [100] * count, 0.05)
        sides[count] = {text for number, text in enumerate(texts[:count]) if number in chosen.validation}
    assert sides[1500] == sides[2000] & set(texts[:1500])


def test_the_seed_changes_the_choice():
    one, other = (split([split_hash(str(n), seed) for n in range(1000)], [1] * 1000, 0.1) for seed in (0, 1))
    assert one.validation != other.validation


def test_few_documents_of_one_size_give_one():
    hashes = [split_hash(str(number), 0) for number in range(12)]
    assert split(hashes, [50_000] * 12, 0.001).validation == {hashes.index(min(hashes))}


def test_one_long_document_gives_its_end():
    chosen = split([2**63], [100_000], 0.02)
    assert (chosen.validation, chosen.tail_of, chosen.tail_bytes) == (frozenset(), 0, 2000)


def test_two_short_documents_give_one_of_them():
    assert len(split([2**63, 2**62], [300, 300], 0.02).validation) == 1


def test_one_short_document_gives_nothing():
    assert split([2**63], [700], 0.02) == split([], [], 0.02)


@given(DOCUMENTS, st.floats(0.001, 0.4))
def test_training_never_loses_much_where_documents_can_be_cut(documents, fraction):
    hashes, sizes = [value for value, _ in documents], [size for _, size in documents]
    chosen = split(hashes, sizes, fraction)
    held_out = sum(sizes[number] for number in chosen.validation)
    assert len(chosen.validation) < max(len(documents), 1), "nothing is left to train on"
    if chosen.tail_of is not None:
        assert not chosen.validation
        assert 2 * chosen.tail_bytes <= sizes[chosen.tail_of]
    elif len(chosen.validation) > 1:
        assert held_out <= MAX_VALIDATION_BYTES_FRACTION * sum(sizes)
    elif len(documents) > 1:
        assert len(chosen.validation) == 1
