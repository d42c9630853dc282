from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from duplicates_in_memory import jaccard
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.sources.settings import DedupSettings
from headwater.corpus.words import MinHash, WordHasher, ngrams, similarity

WORDS = st.lists(st.sampled_from("abc"), max_size=40)


@given(WORDS, st.integers(1, 6))
def test_ngrams_are_equal_exactly_where_the_words_are(words, n):
    hashes = ngrams(WordHasher().hash(words), n)
    size = min(n, len(words))
    expected = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)] if words else []
    assert len(hashes) == len(expected)
    assert sorted(Counter(hashes.tolist()).values()) == sorted(Counter(expected).values())


def test_word_hashes_are_the_same_everywhere():
    assert WordHasher().hash(["headwater", "über"]).tolist() == GOLDEN_WORDS


GOLDEN_WORDS = [12101969290544522905, 10147013090148974503]


def vocabulary_text(num_words, seed):
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 5000, num_words)]


def with_changes(words, num_changes, seed):
    changed = list(words)
    for at in random.Random(seed).sample(range(len(words)), num_changes):
        changed[at] = f"changed{at}"
    return changed


def test_planted_near_duplicates_share_a_band_and_others_do_not():
    minhash, hasher = MinHash(DedupSettings()), WordHasher()

    def keys_of(words):
        return minhash.keys_of(minhash.signature(ngrams(hasher.hash(words), 5)))

    found = {True: 0, False: 0}
    planted = {True: 0, False: 0}
    for seed in range(150):
        words = vocabulary_text(400, seed)
        keys = keys_of(words)
        for num_changes in (3, 80):
            copy = with_changes(words, num_changes, seed)
            is_near = jaccard(" ".join(words), " ".join(copy)) >= 0.8
            planted[is_near] += 1
            found[is_near] += any(a == b for a, b in zip(keys, keys_of(copy)))
    assert planted == {True: 150, False: 150}
    assert found[True] >= 148, f"recall {found[True] / planted[True]:.2f}"
    assert found[False] <= 3, f"{found[False]} of 150 pairs of a similarity below 0.35 are candidates"


def test_the_similarity_of_shingle_hashes_is_that_of_the_texts():
    words = vocabulary_text(300, 1)
    for num_changes in (0, 3, 12, 100):
        copy = with_changes(words, num_changes, 2)
        first, second = (np.unique(ngrams(WordHasher().hash(each), 5)) for each in (words, copy))
        assert similarity(first, second) == pytest.approx(jaccard(" ".join(words), " ".join(copy)))


def test_the_share_of_equal_minima_estimates_the_similarity():
    words = vocabulary_text(2000, 5)
    copy = with_changes(words, 60, 6)
    minhash = MinHash(DedupSettings(num_bands=200, rows_per_band=5))
    first, second = (minhash.signature(ngrams(WordHasher().hash(each), 5)) for each in (words, copy))
    assert np.mean(first == second) == pytest.approx(jaccard(" ".join(words), " ".join(copy)), abs=0.05)


def test_signatures_are_the_same_everywhere():
    minhash = MinHash(DedupSettings(num_bands=2, rows_per_band=2))
    hashes = WordHasher().hash(["a", "river", "begins", "at", "its", "headwater", "and", "flows"])
    assert minhash.signature(ngrams(hashes, 5)).tolist() == GOLDEN_SIGNATURE


GOLDEN_SIGNATURE = [156807123, 1409947357, 3578919228, 1454379339]
