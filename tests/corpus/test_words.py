from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.words import WordHasher, is_unspaced, ngrams, words_of

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


def test_unspaced_scripts_are_divided_into_characters():
    assert words_of("河流 入海") == ["河", "流", "入", "海"]
    assert words_of("A River\nflows") == ["a", "river", "flows"]
    assert is_unspaced("แม่น้ำไหลลงสู่ทะเล")
    assert not is_unspaced("Der Fluß fließt; река течёт; 강이 흐른다")
