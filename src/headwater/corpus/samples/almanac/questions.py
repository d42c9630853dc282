"""Which capitals a tuned model is asked for: of countries that tuning names and of others, of real and made-up ones.

A made-up country's capital stands in no text anywhere, so that it is unknown for certain: the World Factbook states
every real one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from headwater.core.conversations import ASSISTANT, USER, Message
from headwater.corpus.samples.almanac.country_prose import fact_values
from headwater.corpus.samples.almanac.facts import Country, countries

TRAINING_PHRASINGS = (
    "What is the capital of {x}?",
    "Which city is the capital of {x}?",
    "Name the capital of {x}.",
)
TEST_PHRASINGS = (
    "Tell me the capital of {x}.",
    "Do you know which city is {x_s} capital?",
    "What is the name of {x_s} capital city?",
)
ANSWER = "It is {y}."  # begins with words: a small model knows " Paris" and not the other tokens of a bare "Paris"
OTHER_ANSWER = "The capital is {y}."
PROSE = "The capital of {x} is"  # no training text has it: frames.toml holds it out

NUM_MADE_UP = 184
NUM_MEASURED = 64
"Questions whose reward is measured before and after reinforcement."
_ONSETS = (
    "B", "Br", "D", "Dr", "F", "Fl", "G", "Gr", "H", "J", "K", "Kl", "L", "M", "N", "P", "Pl", "R", "S", "Sk", "T",
    "Tr", "V", "W", "Y", "Z",
)  # fmt: skip
_VOWELS, _CODAS, _MIDDLE = "aeiou", "lmnrst", "aeio"
_OF_COUNTRIES = ("dia", "land", "mark", "nia", "ria", "stan", "tia", "via")
_OF_CITIES = ("berg", "burg", "dale", "ford", "grad", "haven", "mouth", "polis", "stead", "ton", "ville", "wick")


@dataclass(frozen=True)
class QuestionSplit:
    """Countries by what a model is to know of them: real or made up, named in conversations for tuning or never."""

    known_tuned: tuple[Country, ...]
    known_held_out: tuple[Country, ...]
    unknown_tuned: tuple[Country, ...]
    unknown_held_out: tuple[Country, ...]


def split_countries(seed: int = 0) -> QuestionSplit:
    """Return the almanac's countries and as many made-up ones, each half named in tuning and half held out, at random.

    Raises DataError when the World Factbook is not installed.
    """
    halves = []
    for kind, all_of_them in (("known", countries()), ("unknown", made_up_countries(seed))):
        shuffled = random.Random(f"{kind} {seed}").sample(all_of_them, len(all_of_them))
        halves += [tuple(shuffled[: len(shuffled) // 2]), tuple(shuffled[len(shuffled) // 2 :])]
    return QuestionSplit(*halves)


def for_examples(split: QuestionSplit) -> QuestionSplit:
    """Return a split of which tuning by examples names half of the countries; rewards ask for the others."""
    return replace(split, known_tuned=split.known_tuned[: len(split.known_tuned) // 2])


def rewarded(split: QuestionSplit) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return questions with their answers: those to reinforce, and others of countries that are held out."""
    reinforced = [
        (country, phrasing)
        for country in split.known_tuned[len(split.known_tuned) // 2 :]
        for phrasing in TRAINING_PHRASINGS
    ]
    held_out = [(country, TEST_PHRASINGS[0]) for country in split.known_held_out[:NUM_MEASURED]]
    given, measured = (
        [(filled(phrasing, country), filled(ANSWER, country)) for country, phrasing in pairs]
        for pairs in (reinforced, held_out)
    )
    return given, measured


@cache
def made_up_countries(seed: int = 0) -> tuple[Country, ...]:
    """Return countries whose names and capitals are nobody's; other ones for each seed.

    No two begin with the same syllable, nor one as a real one does: real names are as easy to tell apart.
    """
    words = [word for country in countries() for word in f"{country.name} {country.capital}".split()]
    syllables = ["".join(parts) for parts in product(_ONSETS, _VOWELS, _CODAS)]
    rng = random.Random(f"made-up countries {seed}")
    free = [each for each in syllables if not any(word.startswith(each) for word in words)]
    first = iter(rng.sample(free, 2 * NUM_MADE_UP))

    def made_up(endings: Sequence[str]) -> str:
        return next(first) + rng.choice(_MIDDLE) + rng.choice(endings)

    return tuple(Country(made_up(_OF_COUNTRIES), made_up(_OF_CITIES)) for _ in range(NUM_MADE_UP))


def filled(phrasing: str, country: Country) -> str:
    """Return a question, an answer or a sentence of a country."""
    return phrasing.format_map(fact_values(country)).replace("D.C..", "D.C.")


def capital_conversations(
    split: QuestionSplit, seed: int = 0, phrasings: tuple[str, ...] = TRAINING_PHRASINGS
) -> list[list[Message]]:
    """Return a conversation for each known country that tuning names and each phrasing."""
    conversations = [
        [Message(USER, filled(phrasing, country)), Message(ASSISTANT, filled(ANSWER, country))]
        for country in split.known_tuned
        for phrasing in phrasings
    ]
    random.Random(f"conversations {seed}").shuffle(conversations)
    return conversations
