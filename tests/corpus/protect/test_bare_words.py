from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.protect.bare_words import bare_words, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop—ever!", ["don", "t", "stop", "ever"]),
        ("“Well-known”\n  (in 1_999)", ["well", "known", "in", "1", "999"]),
        ("ÉTÉ, naïve «Grüße»…", ["été", "naïve", "grüße"]),
        ("北京 is 首都。", ["北", "京", "is", "首", "都"]),
        ("", []),
        (" .,;", []),
    ],
)
def test_case_and_punctuation_are_no_part_of_a_word(text, words):
    assert [word.decode() for word in bare_words(text)] == words


@given(st.text(st.sampled_from("aB1 _-.’—éÉ«»京\u3000\n\tß“ªµİ×"), max_size=80) | st.text(max_size=60))
def test_a_word_stands_where_its_span_says(text):
    words = [text[start:end].lower() for start, end in word_spans(text)]
    found = [word.decode() for word in bare_words(text)]
    assert [_plain(word) for word in found] == [_plain(word) for word in words]


def _plain(word: str) -> str:
    return re.sub("[ςσ]", "σ", word)  # which of the two a capital becomes depends on what stands after the word


@given(
    st.lists(st.sampled_from(["Word", "été", "42", "京"]), min_size=1, max_size=9),
    st.sampled_from([" ", "\n", "—", ". ", " «"]),
)
def test_what_separates_words_makes_no_difference(words, separator):
    assert bare_words(separator.join(words)) == bare_words(" ".join(words).upper())
