from __future__ import annotations

import random
from collections import Counter

import pytest

from headwater.corpus.measures.repetition import frequent_ngram, repeated_line_fraction, repeated_ngram_fraction
from headwater.corpus.words import WordHasher


def top_of(words, limits, units_per_word=1.0):
    return frequent_ngram(WordHasher().hash(words), limits, units_per_word)


def repeated(words, n):
    return repeated_ngram_fraction(WordHasher().hash(words), n)


def test_fractions_by_hand():
    assert repeated_line_fraction("one\ntwo\none\n\n") == pytest.approx(3 / 9)
    known = list("abcabd") * 4  # "ab" eight times: 16 of 24 words
    assert top_of(known, [0.6]) == (2, pytest.approx(16 / 24), 0.6)
    assert top_of(known, [0.67]) is None
    assert repeated(list("abcabc"), 3) == pytest.approx(1 / 4)


def slow_top(words, n):
    runs = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
    most = max(runs.values(), default=0)
    return most * n / len(words) if most > 1 else 0.0


def slow_repeated(words, n):
    runs = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
    return 1 - len(runs) / runs.total()


def texts():
    for seed in range(40):
        rng = random.Random(seed)
        words = rng.choices([f"w{n}" for n in range(rng.choice([3, 30, 300]))], k=rng.choice([5, 60, 400]))
        copy = words[: rng.randrange(len(words))]
        yield words + copy if seed % 2 else words


def test_fractions_are_those_of_a_plain_count():
    for words in texts():
        for n in range(5, 11):
            if len(words) > n:
                assert repeated(words, n) == pytest.approx(slow_repeated(words, n))


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.2, 0.5])
def test_shortcuts_change_no_answer(limit):
    for words in texts():
        top = any(len(words) >= 10 * n and slow_top(words, n) > limit for n in (2, 3, 4))
        assert bool(top_of(words, [limit] * 3)) == top


def test_a_text_without_words_repeats_nothing():
    assert not top_of([], [0.1] * 3)


def test_runs_of_an_unspaced_script_are_as_many_units_as_words_have():
    known = list("abcd" * 20 + "efgh" * 2)
    assert top_of(known, [0.2], units_per_word=2.0) == (4, pytest.approx(80 / 88), 0.2)
    assert top_of(list("abcdefgh" * 4), [0.2], units_per_word=2.0) is None  # fewer than 10 × 4 units
