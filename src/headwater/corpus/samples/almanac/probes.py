"""What the model is asked: choices with one right option, none of them answered by any training text.

An option is scored by log p(prompt + option), the sum over its tokens given the prompt. `item` reads
"GROUP: thing", where the group is the phrasing or the phenomenon.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from headwater.corpus.samples.almanac.agreement import agreement_pairs
from headwater.corpus.samples.almanac.causes import HELD_OUT_JOINTS, Mechanism, Thing, join, mechanisms
from headwater.corpus.samples.almanac.country_prose import fact_values, frames
from headwater.corpus.samples.almanac.facts import countries
from headwater.corpus.samples.almanac.sums import ANSWERS, DIRECT, held_out_pairs, held_out_sum_patterns

KNOWN_JOINT = "Because {c}, {e}."


@dataclass(frozen=True, slots=True)
class Choice:
    """One question: which of `options` continues `prompt`; `answer` is the index of the right one."""

    prompt: str
    options: tuple[str, ...]
    answer: int
    item: str

    @property
    def group(self) -> str:
        return self.item.partition(": ")[0]


def probes() -> dict[str, list[Choice]]:
    """Return every choice by probe.

    Raises DataError when the World Factbook is not installed.
    """
    return {"capitals": _capitals(), "agreement": _agreement(), "sums": _sums(), "cause": _causes()}


def drawn(choices: list[Choice], count: int) -> list[Choice]:
    """Return at most `count` of the choices, drawn at random and always the same: for scores during training.

    Kinds alternate in the list (singular, plural), so that every second one would all be of one kind.
    """
    places = random.Random(0).sample(range(len(choices)), min(count, len(choices)))
    return [choices[place] for place in sorted(places)]


def _capitals() -> list[Choice]:
    """Every country in every held-out phrasing, among all capitals; the same options for every choice."""
    options = tuple(f" {country.capital}" for country in countries())
    return [
        Choice(frame.format_map(fact_values(country)), options, index, f"{name}: {country.name}")
        for index, country in enumerate(countries())
        for name, frame in frames().held_out.items()
    ]


def _sums() -> list[Choice]:
    """Every held-out pair once; forms and orders alternate."""
    options = tuple(f" {answer}" for answer in ANSWERS)
    choices = []
    for index, (low, high) in enumerate(held_out_pairs()):
        a, b = (low, high) if index // 2 % 2 == 0 else (high, low)
        form = DIRECT[index % 2]
        prompt = form.format(a=a, b=b, c="").rstrip()
        choices.append(Choice(prompt, options, ANSWERS.index(a + b), f"{form.format(a='A', b='B', c='C')}: {a}, {b}"))
    return choices


def _causes() -> list[Choice]:
    """Every mechanism with its held-out things, under either cause: ignoring the cause gives exactly one half."""
    choices = []
    for number, mechanism in enumerate(mechanisms()):
        for place, text in enumerate(mechanism.held_out_things):
            joint = KNOWN_JOINT if place == 0 else HELD_OUT_JOINTS[number % len(HELD_OUT_JOINTS)]
            group = "known joint" if place == 0 else "new joint"
            thing = Thing.parse(text)
            effects = _alike(mechanism)
            for answer, causes in enumerate((mechanism.first_causes, mechanism.second_causes)):
                cause = causes[number % len(causes)]
                prompt, options = _split_at_difference(tuple(join(joint, cause, effect, thing) for effect in effects))
                choices.append(Choice(prompt, options, answer, f"{group}: {thing.name} {effects[answer]}"))
    return choices


def _alike(mechanism: Mechanism) -> tuple[str, str]:
    """Return the two effects that differ least in length, because a long ending is less likely than a short one."""
    pairs = [(first, second) for first in mechanism.first_effects for second in mechanism.second_effects]
    return min(pairs, key=lambda pair: abs(len(pair[0]) - len(pair[1])))


def _split_at_difference(sentences: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return what the sentences share, up to a word boundary, and how each continues."""
    shared = 0
    words = [sentence.split(" ") for sentence in sentences]
    while len({tuple(w[: shared + 1]) for w in words}) == 1:
        shared += 1
    return " ".join(words[0][:shared]), tuple(" " + " ".join(w[shared:]) for w in words)


def _agreement() -> list[Choice]:
    """Whole sentences without a prompt; right and wrong change places, so that position tells nothing."""
    choices = []
    for index, (phenomenon, right, wrong) in enumerate(agreement_pairs()):
        answer = index // 2 % 2
        options = (right, wrong) if answer == 0 else (wrong, right)
        choices.append(Choice("", options, answer, f"{phenomenon}: {right}"))
    return choices


@cache
def held_out_patterns() -> tuple[re.Pattern[str], ...]:
    """Return patterns of which none may match anywhere in a training text.

    They are the held-out ways to say a capital (of any place, not only those in the almanac), the held-out sums in
    every form and in both orders, and the questions about cause and effect with either ending.
    Raises DataError when the World Factbook is not installed.
    """
    patterns = (*frames().held_out_patterns, *held_out_sum_patterns())
    return (*(re.compile(pattern) for pattern in patterns), *_cause_patterns())


def _cause_patterns() -> list[re.Pattern[str]]:
    """One pattern for each way the questions begin, so that the search can skip to its literal beginning."""
    beginnings: dict[str, list[str]] = {}
    for choice in probes()["cause"]:
        sentences = [re.escape(choice.prompt + option.rstrip(".")) for option in choice.options]
        beginnings.setdefault(choice.prompt.split(" ")[0], []).extend(sentences)
    return [re.compile("|".join(sentences)) for _, sentences in sorted(beginnings.items())]
