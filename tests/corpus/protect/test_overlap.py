from __future__ import annotations

import re

import numpy as np
import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.protect.overlap import OverlapIndex, Shared, bare_words, word_spans

SMALL = st.lists(st.integers(0, 3), max_size=30)


def hashes(values):
    return np.array(values, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def slowly(text, items, n):
    """What two texts share, by comparing every run with every run."""
    found = set()
    for number, item in enumerate(items):
        length = min(n, len(item))
        runs = {tuple(item[at : at + length]) for at in range(len(item) - length + 1)} if item else set()
        found |= {
            Shared(at, at + length, number)
            for at in range(len(text) - length + 1)
            if tuple(text[at : at + length]) in runs
        }
    return found


@given(SMALL, st.lists(SMALL, max_size=5), st.integers(2, 6))
def test_the_index_finds_what_a_comparison_of_all_runs_finds(text, items, n):
    index = OverlapIndex([(number, hashes(item)) for number, item in enumerate(items)], n)
    assert set(index.find(hashes(text))) == slowly(text, items, n)


def test_of_the_items_that_share_a_template_the_first_are_named_and_each_is_found_by_its_own_words():
    template = list(range(5))
    items = [(number, hashes([*template, 100 + number, 200 + number])) for number in range(500)]
    index = OverlapIndex(items, 5)
    found = index.find(hashes([7, *template, 8, *template]))
    assert found == [Shared(at, at + 5, number) for at in (1, 7) for number in range(64)]
    assert Shared(0, 5, 499) in index.find(hashes([*template[2:], 599, 699]))


@pytest.mark.parametrize("num_runs", [1, 2, 1000, 70_000])
def test_tables_of_every_size_find_all_they_hold_and_nothing_else(num_runs):
    random = np.random.default_rng(num_runs)
    held = random.integers(0, 2**64, num_runs, dtype=np.uint64)
    index = OverlapIndex([(7, held)], 1)
    text = np.concatenate([random.integers(0, 2**64, 50_000, dtype=np.uint64), held])
    assert {shared.first for shared in index.find(text)} == set(range(50_000, 50_000 + num_runs))


@pytest.mark.parametrize(("text", "words"), rows("case_and_punctuation_are_no_part_of_a_word"))
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
