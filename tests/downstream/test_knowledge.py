"""The examination, on models that answer by a script: what they know and invent is counted as it is."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import pytest
import torch

from headwater.corpus.samples.almanac.facts import Country
from headwater.corpus.samples.almanac.questions import (
    ANSWER,
    OTHER_ANSWER,
    PROSE,
    TEST_PHRASINGS,
    TRAINING_PHRASINGS,
    filled,
    split_countries,
)
from headwater.downstream import samples as module
from headwater.downstream.samples import QUESTIONS, Prompts, chat_prompts, examine

END, TURN_START, TURN_END, FIRST = 1, 2, 3, 4
SPLIT = split_countries(0)
PARTS = (SPLIT.known_tuned, SPLIT.known_held_out, SPLIT.unknown_tuned, SPLIT.unknown_held_out)
CHARACTERS = sorted(
    {each for part in PARTS for country in part for each in country.name + country.capital} | {*string.printable}
)


class CharacterTokenizer:
    """Stands for a Tokenizer: an id for each character, and the special ones of talks."""

    begin_id, end_id, vocab_size = 0, END, FIRST + len(CHARACTERS)
    special = {"<|im_start|>": TURN_START, "<|im_end|>": TURN_END}

    def encode(self, text: str) -> list[int]:
        return [FIRST + CHARACTERS.index(each) for each in text]

    def encode_arrays(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array(self.encode(text), dtype=np.uint32) for text in texts]

    def decode(self, ids: list[int]) -> str:
        return "".join(CHARACTERS[token - FIRST] for token in ids if token >= FIRST)

    def token_bytes(self, token: int) -> bytes:
        return self.decode([token]).encode()


TOKENIZER = CharacterTokenizer()


class Scripted:
    """Stands for a Scorer whose model writes `reply(what it was asked)` and ends its turn."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply = reply

    def growing(self):
        replies: list[list[int]] = []
        lengths: list[int] = []

        def next_logits_of(rows: list[list[int]]) -> torch.Tensor:
            if not replies:
                lengths.extend(map(len, rows))
                replies.extend(self.ids(row) for row in rows)
            logits_BV = torch.full((len(rows), TOKENIZER.vocab_size), -torch.inf)
            for index, row in enumerate(rows):
                logits_BV[index, replies[index][min(len(row) - lengths[index], len(replies[index]) - 1)]] = 0.0
            return logits_BV

        return next_logits_of

    def ids(self, row: list[int]) -> list[int]:
        asked = TOKENIZER.decode(row).removeprefix("user\n").removesuffix("\nassistant\n")
        return [*TOKENIZER.encode(self.reply(asked)), TURN_END, END]


@pytest.fixture(autouse=True)
def room_for_characters(monkeypatch):
    for name in ("ANSWER_TOKENS", "PROSE_TOKENS"):
        monkeypatch.setattr(module, name, 60)


def answering(replies: dict[str, str]) -> Scripted:
    return Scripted(lambda asked: replies.get(asked, "what?"))


def said_of(countries: tuple[Country, ...], form: str, phrasings=TRAINING_PHRASINGS + TEST_PHRASINGS) -> dict[str, str]:
    return {filled(phrasing, each): filled(form, each) for each in countries for phrasing in phrasings}


CHAT = chat_prompts(TOKENIZER)


def rates(scorer: Scripted, chat: Prompts | None = CHAT) -> tuple[list[float], list[float], list[float]]:
    """Return the shares of right answers, of wrong ones in the asked form, and of right sentences of prose."""
    found = {name: share.value for name, share in examine(scorer, TOKENIZER, chat).items()}
    prose = [found.pop(name) for name in [*found] if name.endswith("as prose")]
    right = [found.pop(name) for name in QUESTIONS if name in found]
    return right, list(found.values()), prose


def test_what_is_said_is_counted_by_group():
    """It knows what tuning named, and a third of the others in new phrasings; of all else it says Atlantis."""
    third = SPLIT.known_held_out[: len(SPLIT.known_held_out) // 3]
    replies = {question: "It is Atlantis." for part in PARTS for question in said_of(part, ANSWER)}
    replies |= said_of(SPLIT.known_tuned, ANSWER) | said_of(third, OTHER_ANSWER, TEST_PHRASINGS)
    replies |= {filled(PROSE, each): f" {each.capital}, and" for each in SPLIT.known_tuned}
    right, wrong, prose = rates(answering(replies))
    assert right == [1, pytest.approx(1 / 3), 0]
    assert wrong == [0, pytest.approx(2 / 3), 1]
    assert prose == [pytest.approx(92 / 185), 0]
    found = examine(answering({}), TOKENIZER, CHAT)
    assert [found[name].num for name in QUESTIONS] == [276, 279, 552]


def test_other_words_are_neither_right_nor_a_wrong_answer():
    replies = dict.fromkeys(said_of(SPLIT.unknown_held_out, ANSWER), "I do not know.")
    replies |= {question: f"{answer} Yes." for question, answer in said_of(SPLIT.known_tuned, ANSWER).items()}
    replies |= {question: answer[:-1] for question, answer in said_of(SPLIT.known_held_out, ANSWER).items()}
    assert rates(answering(replies))[:2] == ([0] * 3, [0] * 3)


def test_an_answer_that_does_not_end_is_not_right():
    class Endless(Scripted):
        def ids(self, row: list[int]) -> list[int]:
            return [*super().ids(row)[:-2], FIRST + CHARACTERS.index(" ")]

    assert rates(Endless(answering(said_of(SPLIT.known_tuned, ANSWER)).reply))[0] == [0] * 3


def test_a_model_that_cannot_be_talked_to_is_asked_in_prose_alone():
    replies = {filled(PROSE, each): f" {each.capital}." for part in PARTS for each in part}
    assert rates(answering(replies), None) == ([], [], [1, 1])
