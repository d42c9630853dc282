from __future__ import annotations

import random
from collections import Counter

import pytest

from headwater.corpus.document import Document
from headwater.corpus.measures.repetition import ngram_fraction, repeated_line_fraction, repeated_ngram_fraction
from headwater.corpus.measures.statistics import Statistics
from headwater.corpus.sources.rules import RuleSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher


def top_of(words, n):
    return ngram_fraction(WordHasher().hash(words), n)


def repeated(words, n):
    return repeated_ngram_fraction(WordHasher().hash(words), n)


def test_fractions_by_hand():
    assert repeated_line_fraction(["one", "two", "one", ""]) == pytest.approx(3 / 9)
    known = list("abcabd") * 4  # "ab" eight times: 16 of 24 words
    assert top_of(known, 2) == pytest.approx(16 / 24)
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
        for n in range(2, 11):
            if len(words) > n:
                assert repeated(words, n) == pytest.approx(slow_repeated(words, n))
                assert top_of(words, n) == pytest.approx(slow_top(words, n))


@pytest.mark.parametrize(
    ("text", "covered"), [("河流河流入海" * 8, 2 / 3), ("one two three four five six " * 8, 1 / 3)]
)
def test_runs_of_an_unspaced_script_are_as_many_units_as_words_have(text, covered):
    """Two words of English are four units of Chinese, of which the commonest run comes once in each six."""
    candidate = Candidate(Document(text, "s", "d", "o", "web"), WordHasher())
    (found,) = Statistics(RuleSettings()).measure_candidates([candidate])["top_2gram_fraction"]
    assert found == pytest.approx(covered, abs=0.02)
