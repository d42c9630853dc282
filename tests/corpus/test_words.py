from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.words import WordHasher, ngrams

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
