"""Probes made of held-out text: what holds for each item, whatever the text is."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from headwater.evaluate.cloze import NUM_OPTIONS, PASSAGE_BYTES, cloze_items

LETTERS = {"english": "abcdefghijklmnop", "japanese": "漢字水川海山川日本語学校門車", "thai": "กขคงจชซดตถทนบปผพ"}


def some_text(script: str, seed: int, num_words: int = 3000) -> str:
    """Return words of a script, some said often and many seldom; Thai and Japanese without blanks."""
    chance, blank = random.Random(seed), " " if script == "english" else ""
    known = ["".join(chance.choices(LETTERS[script], k=chance.randint(3, 6))) for _ in range(400)]
    weights = [1 / (rank + 1) for rank in range(len(known))]
    return blank.join(chance.choices(known, weights, k=num_words))


@pytest.fixture(params=LETTERS)
def script(request) -> str:
    return request.param


def test_each_option_was_said_once_before_and_one_continues_the_text(script):
    text = some_text(script, 1)
    items = cloze_items([text], seed=0, max_items=40)
    assert len(items) >= 20
    for item in items:
        assert len(set(item.options)) == NUM_OPTIONS
        assert item.prompt + item.options[item.answer] in text
        assert len((item.prompt + item.options[item.answer]).encode()) <= PASSAGE_BYTES + 3
        if script == "english":
            said = Counter(item.prompt.split()[1:])  # its first word may be cut
            assert all(said[option.strip()] == 1 or item.prompt.startswith(option.strip()) for option in item.options)
        else:
            assert all(option in item.prompt for option in item.options)


def test_the_same_text_and_seed_give_the_same_items_and_another_seed_gives_others(script):
    text = some_text(script, 2)
    assert cloze_items([text], 5, 20) == cloze_items([text], 5, 20) != cloze_items([text], 6, 20)


def test_the_right_option_stands_at_each_place_alike():
    answers = Counter(item.answer for item in cloze_items([some_text("english", 3, 30_000)], 0, 200))
    assert all(30 <= answers[place] <= 70 for place in range(NUM_OPTIONS)), answers


def test_the_word_said_more_often_in_the_text_is_right_as_often_as_chance_has_it():
    text = some_text("english", 4, 60_000)
    counts = Counter(text.split())
    items = cloze_items([text], 0, 300)
    right = sum(max(item.options, key=lambda word: counts[word.strip()]) == item.options[item.answer] for item in items)
    assert 0.15 <= right / len(items) <= 0.40, right / len(items)


@pytest.mark.parametrize("text", ["", "one two three", "1234 " * 400, "the " * 400])
def test_a_text_without_such_words_gives_no_items(text):
    assert cloze_items([text], 0, 10) == []
