"""Probes made of held-out text: what holds for each item, whatever the text is."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.errors import EvaluationError
from headwater.corpus.samples.almanac.probes import Choice
from headwater.evaluate.cloze import NUM_OPTIONS, PASSAGE_BYTES, cloze_items, score_choices

LETTERS = {"english": "abcdefghijklmnop", "japanese": "漢字水川海山川日本語学校門車", "thai": "กขคงจชซดตถทนบปผพ"}
OPTION_LETTERS = "abcd"
BEGIN = len(OPTION_LETTERS)


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


class Letters:
    """A tokenizer of four letters."""

    begin_id = BEGIN

    def encode(self, text: str) -> list[int]:
        return [OPTION_LETTERS.index(letter) for letter in text]

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


class HandMade:
    """A model whose log-probabilities are few and exact in binary, so that ties are many and are ties to the bit."""

    def __init__(self, seed: int, num_values: int = 3) -> None:
        self._seed, self._num_values = seed, num_values

    def log_p(self, prefix: list[int]) -> np.ndarray:
        chance = random.Random(f"{self._seed} {prefix}")
        return np.array([-0.5 * chance.randint(1, self._num_values) for _ in range(BEGIN + 1)])

    def loglikelihood(self, pairs) -> np.ndarray:
        return np.array([self._score(list(prompt), list(rest)) for prompt, rest in pairs], dtype=float)

    def _score(self, prompt: list[int], rest: list[int]) -> float:
        return sum(self.log_p(prompt + rest[:at])[token] for at, token in enumerate(rest))

    def next_log_probabilities(self, prompts, tokens) -> list[np.ndarray]:
        return [self.log_p(list(prompt))[each] for prompt, each in zip(prompts, tokens, strict=True)]


def brute_force(scorer: HandMade, choices: list[Choice]) -> dict[str, float]:
    """Score every option of every choice."""
    letters, ranks, chances = Letters(), [], []
    for choice in choices:
        prompt = [BEGIN, *letters.encode(choice.prompt)]
        scores = scorer.loglikelihood([(prompt, letters.encode(option)) for option in choice.options])
        right = scores[choice.answer]
        ranks.append(1 + sum(score >= right for at, score in enumerate(scores) if at != choice.answer))
        chances.append(math.exp(right))
    return {
        "right": round(sum(rank == 1 for rank in ranks) / len(ranks), 4),
        "chance": round(sum(1 / len(choice.options) for choice in choices) / len(choices), 4),
        "num_items": len(choices),
        "mean_probability": round(sum(chances) / len(chances), 4),
        "median_rank": float(np.median(ranks)),
    }


OPTIONS = tuple(map("".join, itertools.product(OPTION_LETTERS, repeat=4)))
words = st.text(OPTION_LETTERS, min_size=1, max_size=4)
options = st.lists(words, min_size=2, max_size=12, unique=True)
choice_lists = st.lists(
    st.builds(
        lambda prompt, options, at: Choice(prompt, tuple(options), at % len(options), "item"),
        st.text(OPTION_LETTERS, max_size=3),
        options,
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=6,
)


@given(choice_lists, st.integers(0, 1000), st.integers(1, 4))
@example([Choice("a", ("b", "c"), 0, "x")], 0, 1)  # a tie is not right
@example(
    [Choice("a", ("b", "cd"), at, "x") for at in range(2)], 0, 1
)  # of equal chances a token the shorter is likelier
@example([Choice("", ("a", "ab", "abc"), at, "x") for at in range(3)], 1, 3)  # an option begins with another
@example([Choice("", OPTIONS, at, "x") for at in range(0, len(OPTIONS), 37)], 3, 9)
def test_scores_are_those_of_all_options_computed(choices, seed, num_values):
    scorer = HandMade(seed, num_values)
    assert score_choices(scorer, Letters(), choices) == brute_force(scorer, choices)


def test_no_items_are_an_error():
    with pytest.raises(EvaluationError, match="at least one item"):
        score_choices(HandMade(0), Letters(), [])
