from __future__ import annotations

import random

import numpy as np
import pytest

from headwater.corpus.dedup import MAX_COMPARED, ExactDuplicates, NearDuplicates
from headwater.corpus.settings import DedupSettings
from headwater.corpus.words import WordHasher, ngrams, words_of


class Search:
    """Near-duplicate search over texts that are given one after another; keeps what is no duplicate."""

    def __init__(self, **settings):
        self.texts: list[str] = []
        self.hasher = WordHasher()
        self.near = NearDuplicates(DedupSettings(**settings), self.hasher, self.texts.__getitem__)

    def offer(self, text):
        """Return the number of the text kept before that this one duplicates, or None and keep it."""
        original, keys = self.near.find(self.hasher.hash(words_of(text)))
        if original is None:
            self.texts.append(text)
            self.near.add_(len(self.texts) - 1, keys)
        return original


def vocabulary_text(num_words, seed):
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 5000, num_words)]


def with_changes(words, num_changes, seed):
    changed = list(words)
    for at in random.Random(seed).sample(range(len(words)), num_changes):
        changed[at] = f"changed{at}"
    return changed


def jaccard(first, second, n=5):
    a, b = ({tuple(words[at : at + n]) for at in range(len(words) - n + 1)} for words in (first, second))
    return len(a & b) / len(a | b)


def test_planted_near_duplicates_are_found_and_others_are_not():
    originals = [vocabulary_text(400, seed) for seed in range(150)]
    search = Search()
    for words in originals:
        assert search.offer(" ".join(words)) is None
    found = {True: 0, False: 0}
    planted = {True: 0, False: 0}
    for number, words in enumerate(originals):
        for num_changes in (3, 30):
            copy = with_changes(words, num_changes, number)
            is_near = jaccard(words, copy) >= 0.8
            original, _ = search.near.find(search.hasher.hash(copy))
            planted[is_near] += 1
            found[is_near] += original == number
    assert planted == {True: 150, False: 150}
    assert found[True] >= 148, f"recall {found[True] / planted[True]:.2f}"
    assert found[False] == 0, "a pair below the threshold was called a duplicate"


def test_a_candidate_counts_only_by_its_true_similarity():
    words = vocabulary_text(300, 1)
    copy = with_changes(words, 12, 2)
    similarity = jaccard(words, copy)
    assert 0.6 < similarity < 0.8
    # one row a band makes nearly every pair a candidate, so that only the check decides
    for threshold, expected in ((similarity - 0.01, 0), (similarity + 0.01, None)):
        search = Search(min_similarity=threshold, num_bands=64, rows_per_band=1)
        search.offer(" ".join(words))
        assert search.offer(" ".join(copy)) == expected


def boilerplate_page(number, common):
    return " ".join([*common, *vocabulary_text(160, number)])


def test_pages_that_share_most_words_are_compared_with_few_and_a_true_duplicate_is_found():
    common = vocabulary_text(340, 10_000)  # two thirds of every page
    compared: list[int] = []
    search = Search()
    texts = search.texts
    search.near = NearDuplicates(
        DedupSettings(), search.hasher, lambda number: compared.append(number) or texts[number]
    )
    for number in range(250):
        before = len(compared)
        assert search.offer(boilerplate_page(number, common)) is None
        assert len(compared) - before <= MAX_COMPARED
    assert len(compared) > 250 * 8, "the pages are no candidates: the test tests nothing"
    for number in range(200, 250):
        copy = with_changes(boilerplate_page(number, common).split(), 2, number)
        assert search.offer(" ".join(copy)) == number


def test_the_first_of_several_copies_is_the_original():
    words = vocabulary_text(300, 1)
    search = Search()
    assert search.offer(" ".join(words)) is None
    assert search.offer(" ".join(vocabulary_text(300, 2))) is None
    assert [search.offer(" ".join(with_changes(words, 2, seed))) for seed in range(5)] == [0] * 5


def test_case_and_white_space_are_no_difference():
    search = Search()
    assert search.offer("One river flows\ninto the Sea today") is None
    assert search.offer("one RIVER flows   into the sea\n\ntoday") == 0


def test_texts_shorter_than_a_shingle_are_compared_whole():
    search = Search()
    assert [search.offer(text) for text in ("one two", "one three", "one two", "two one")] == [None, None, 0, None]


def test_the_share_of_equal_minima_estimates_the_similarity():
    words = vocabulary_text(2000, 5)
    copy = with_changes(words, 60, 6)
    search = Search(num_bands=200, rows_per_band=5)
    first, second = (search.near.signature(ngrams(search.hasher.hash(w), 5)) for w in (words, copy))
    assert np.mean(first == second) == pytest.approx(jaccard(words, copy), abs=0.05)


def test_signatures_are_the_same_everywhere():
    search = Search(num_bands=2, rows_per_band=2)
    hashes = search.hasher.hash(["a", "river", "begins", "at", "its", "headwater", "and", "flows"])
    assert search.near.signature(ngrams(hashes, 5)).tolist() == GOLDEN_SIGNATURE


GOLDEN_SIGNATURE = [371210328, 1277792679, 1228508573, 1262833052]


def test_exact_duplicates_ignore_case_and_white_space():
    exact = ExactDuplicates()
    texts = ["One river.", "one  RIVER.\n", "One river", "one river"]
    assert [exact.is_new_(words_of(text)) for text in texts] == [True, False, True, False]
