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
    REFUSAL,
    TEST_PHRASINGS,
    TRAINING_PHRASINGS,
    filled,
    split_countries,
)
from headwater.downstream import knowledge as module
from headwater.downstream.knowledge import GROUPS, SAMPLES_EACH, compared, examine
from headwater.downstream.samples import chat_prompts

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


def known_by(scorer: Scripted):
    return examine("run", "tuned", "digest", scorer, TOKENIZER, chat_prompts(TOKENIZER))


def rates(found, measure: str) -> list[float]:
    return [getattr(found.greedy[group], measure).value for group in GROUPS]


def test_what_is_said_is_counted_by_group():
    """It knows what tuning named, and a third of the others in new phrasings; of all else it says Atlantis."""
    third = SPLIT.known_held_out[: len(SPLIT.known_held_out) // 3]
    replies = {question: "It is Atlantis." for part in PARTS for question in said_of(part, ANSWER)}
    replies |= said_of(SPLIT.known_tuned, ANSWER) | said_of(third, OTHER_ANSWER, TEST_PHRASINGS)
    replies |= {filled(PROSE, each): f" {each.capital}, and" for each in SPLIT.known_tuned}
    found = known_by(answering(replies))
    assert rates(found, "right") == [1, 0, pytest.approx(1 / 3), 0, 0]
    assert rates(found, "invented") == [0, 1, pytest.approx(2 / 3), 1, 1]
    assert rates(found, "in_form") == [1] * 5
    assert rates(found, "refused") == [0] * 5
    assert [each.num for each in (found.prose["known"], found.greedy["unknown, never named"].right)] == [185, 552]
    assert found.prose["known"].value == pytest.approx(92 / 185)
    assert found.prose["unknown"].value == 0
    sampled = found.sampled["known, never named"]
    assert sampled.pass_1.value == sampled.pass_k.value == 1, "the third that it knows comes first"
    assert sampled.num_each == SAMPLES_EACH


def test_a_refusal_is_neither_right_nor_invented_and_other_words_are_no_answer():
    replies = dict.fromkeys(said_of(SPLIT.unknown_held_out, ANSWER), REFUSAL)
    replies |= {question: f"{answer} Yes." for question, answer in said_of(SPLIT.known_tuned, ANSWER).items()}
    replies |= {question: answer[:-1] for question, answer in said_of(SPLIT.known_held_out, ANSWER).items()}
    found = known_by(answering(replies))
    assert rates(found, "refused") == [0, 0, 0, 0, 1]
    for measure in ("right", "invented", "in_form"):
        assert rates(found, measure) == [0] * 5, measure


def test_an_answer_that_does_not_end_is_not_right():
    class Endless(Scripted):
        def ids(self, row: list[int]) -> list[int]:
            return [*super().ids(row)[:-2], FIRST + CHARACTERS.index(" ")]

    assert rates(known_by(Endless(answering(said_of(SPLIT.known_tuned, ANSWER)).reply)), "right") == [0] * 5


def test_a_model_that_cannot_be_talked_to_is_asked_in_prose_alone():
    replies = {filled(PROSE, each): f" {each.capital}." for part in PARTS for each in part}
    found = examine("base", "base", "digest", answering(replies), TOKENIZER, None)
    assert {name: share.value for name, share in found.prose.items()} == {"known": 1, "unknown": 1}
    table = compared([found, known_by(answering({}))]).table
    assert {row.measure: row.values[0] is None for row in table} == {
        row.measure: not row.measure.endswith("as prose") for row in table
    }
    assert all(row.values[1] is not None for row in table)
