from __future__ import annotations

import lzma
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import EvaluationError
from headwater.evaluate.baselines import KneserNey, ngram_bits_per_byte, sample, with_end, xz_bits_per_byte

BEGIN, END = 0, 1


def stream(*documents: list[int]):
    rows = [[BEGIN, *document, END] for document in documents]
    starts = np.cumsum([0, *map(len, rows)])
    return np.array([token for row in rows for token in row], np.uint32), starts.astype(np.uint64)


class SlowKneserNey:
    """The definition, with dictionaries and recursion: counts of tuples, one n-gram at a time."""

    def __init__(self, rows: list[list[int]], vocab_size: int, order: int) -> None:
        self.vocab_size = vocab_size
        order = min(order, max(map(len, rows)))
        plain: Counter = Counter()
        left: dict[tuple, set] = defaultdict(set)
        for row in rows:
            for end in range(1, len(row) + 1):
                for size in range(1, min(order, end) + 1):
                    gram = tuple(row[end - size : end])
                    plain[gram] += 1
                    if end > size:
                        left[gram].add(row[end - size - 1])
        self.counts: dict[int, dict[tuple, int]] = defaultdict(dict)
        for gram, count in plain.items():
            if gram == (BEGIN,):
                continue
            is_plain = len(gram) == order or gram[0] == BEGIN
            self.counts[len(gram)][gram] = count if is_plain else len(left[gram])
        self.discounts = {size: self._discounts(list(counts.values())) for size, counts in self.counts.items()}

    @staticmethod
    def _discounts(counts: list[int]) -> list[float]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return [0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return found if min(found[1:]) > 0 else [0, 0.5, 1.0, 1.5]

    def probability(self, context: tuple, token: int) -> float:
        size = len(context) + 1
        shorter = self.probability(context[1:], token) if context else 1 / (self.vocab_size - 1)
        followers = {gram: count for gram, count in self.counts[size].items() if gram[:-1] == context}
        if not followers:
            return shorter
        taken = {gram: self.discounts[size][min(count, 3)] for gram, count in followers.items()}
        gram = (*context, token)
        counted = followers.get(gram, 0) - taken.get(gram, 0)
        return (counted + sum(taken.values()) * shorter) / sum(followers.values())


def test_bigram_probabilities_equal_those_worked_out_on_paper():
    # (2): left neighbours 0, 3 · (3): 2 · (1): 2; discounts 0.5, 1.0: p(2) = (1 + 2/3)/4 = 5/12, p(3) = p(1) = 7/24
    # p(3 | 2) = (1 - 0.5 + 1 · 7/24) / 2 = 19/48
    model = KneserNey([stream([2, 3, 2])], vocab_size=4, begin_id=BEGIN, order=2)
    probabilities = np.exp(-model.target_nats(stream([2, 3])))
    assert probabilities[2] == pytest.approx(19 / 48)
    assert probabilities[1] == pytest.approx(0.5 + 0.5 * 5 / 12), "p(2 | begin)"


documents_of = st.lists(st.lists(st.integers(2, 6), max_size=12), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(documents_of, documents_of, st.integers(2, 5))
def test_probabilities_equal_a_slow_implementation(train, held_out, order):
    fast = KneserNey([stream(*train)], vocab_size=8, begin_id=BEGIN, order=order)
    slow = SlowKneserNey([[BEGIN, *document, END] for document in train], vocab_size=8, order=order)
    expected = []
    for document in held_out:
        row = [BEGIN, *document, END]
        expected.append(0.0)
        for at in range(1, len(row)):
            expected.append(-math.log(slow.probability(tuple(row[max(0, at - order + 1) : at]), row[at])))
    np.testing.assert_allclose(fast.target_nats(stream(*held_out)), expected, rtol=1e-12)


def test_bits_per_byte_leave_out_begin_and_end_tokens_and_join_streams():
    train = [stream([2, 3, 2]), stream([3, 3, 2])]
    held_out = [stream([2, 3]), stream([3])]
    model = KneserNey(train, vocab_size=4, begin_id=BEGIN)
    nats = sum(float(model.target_nats(one)[at].sum()) for one, at in zip(held_out, [[1, 2], [1]], strict=True))
    found = ngram_bits_per_byte(train, held_out, num_bytes=10, vocab_size=4, begin_id=BEGIN, end_id=END)
    assert found == pytest.approx(nats / (10 * math.log(2)))


def test_a_document_may_end_with_the_token_that_begins_it():
    tokens, starts = np.array([0, 5, 0, 0, 6, 7]), np.array([0, 3, 6])  # the second one is cut before its end
    found, same_starts = with_end(tokens, starts, begin_id=0, end_id=9)
    assert found.tolist() == [0, 5, 9, 0, 6, 7] and same_starts is starts


def test_bits_per_byte_are_the_same_in_pieces(monkeypatch):
    train, held_out = [stream([2, 3, 2, 4], [3, 3, 2])], [stream([2, 3], [3], [4, 2, 2, 3, 3], [2])]
    whole = ngram_bits_per_byte(train, held_out, 10, 6, BEGIN, END)
    monkeypatch.setattr("headwater.evaluate.baselines.SCORED_AT_ONCE", 5)
    assert ngram_bits_per_byte(train, held_out, 10, 6, BEGIN, END) == pytest.approx(whole)


def test_unusable_input_is_an_error_that_names_it():
    good = stream([2, 3])
    for train, message in [
        ([], "no training token"),
        ([(np.array([BEGIN]), np.array([0, 1]))], "no training token"),
        ([(np.array([2, 3]), np.array([0, 2]))], "must begin with token 0"),
        ([(np.array([BEGIN, 9]), np.array([0, 2]))], "outside of 0 … 7"),
        ([(np.array([BEGIN, 3]), np.array([0, 1]))], "cover 1 of 2"),
    ]:
        with pytest.raises(EvaluationError, match=message):
            ngram_bits_per_byte(train, [good], 1, 8, BEGIN, END)
    with pytest.raises(EvaluationError, match="empty"):
        ngram_bits_per_byte([good], [], 0, 8, BEGIN, END)


def test_xz_equals_the_compressed_size_of_the_text():
    text = b"the river starts at its headwater; " * 20 + "ein Fluß".encode() + bytes(range(256))
    expected = 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)
    assert xz_bits_per_byte(text) == expected
    with pytest.raises(EvaluationError, match="empty"):
        xz_bits_per_byte(b"")


class Store:
    """As much of a token store as a baseline reads."""

    def __init__(self, *lengths: int) -> None:
        self.starts = np.cumsum([0, *lengths]).astype(np.uint64)
        self.num_tokens = int(self.starts[-1])

    def gather(self, positions):
        return positions.astype(np.int32)


@given(st.lists(st.integers(2, 300), min_size=1, max_size=60), st.floats(0.001, 3))
def test_a_sample_is_never_more_than_its_share_whatever_the_documents(lengths, share):
    store = Store(*lengths)
    tokens, starts = sample(store, share)
    assert 0 < len(tokens) <= math.ceil(min(share, 1) * store.num_tokens)
    assert starts[0] == 0 and starts[-1] == len(tokens) and np.all(np.diff(starts) >= 0)
    firsts = tokens[starts[:-1][np.diff(starts) > 0]]
    assert set(firsts.tolist()) <= set(store.starts.tolist()), "a document is cut at its end, never at its start"
