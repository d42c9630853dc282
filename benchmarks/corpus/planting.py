"""Near duplicates made from real texts: copies changed in one way each, by a known amount, from a seeded generator."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NOTICE = (
    "Accept all cookies to continue. This site uses cookies and similar techniques to remember you, to count its "
    "visitors and to show what others paid for; you may change your mind at any time in the settings of your account. "
    "Sign in, register for our letter, follow us, and share this page with your friends. All rights reserved. "
)

Change = Callable[[str, random.Random], str]


@dataclass(frozen=True, slots=True)
class Planted:
    """A changed copy of a text."""

    kind: str
    of: int
    text: str


def edit_words(fraction: float) -> Change:
    """Replace, delete or double this fraction of the words, each where chance falls."""

    def change(text: str, chance: random.Random) -> str:
        def edited(match: re.Match[str]) -> str:
            if chance.random() >= fraction:
                return match.group()
            return chance.choice((f"word{chance.randrange(10**6)}", "", f"{match.group()} {match.group()}"))

        return _WORD.sub(edited, text)

    return change


def reorder(pattern: str | re.Pattern[str], fraction: float) -> Change:
    """Let this fraction of the parts of a text (at least one pair of neighbours) take each other's place."""

    def change(text: str, chance: random.Random) -> str:
        parts = re.split(pattern, text)
        for _ in range(max(1, round(fraction * len(parts) / 2))):
            if len(parts) > 2:
                at = chance.randrange(len(parts) - 1)
                parts[at], parts[at + 1] = parts[at + 1], parts[at]
        return "\n\n".join(parts) if pattern == r"\n\n+" else " ".join(parts)

    return change


def truncate(fraction: float) -> Change:
    return lambda text, chance: text[: int(len(text) * (1 - fraction))]


def surround(num_words: int) -> Change:
    """Put a notice of the site before and after."""

    def change(text: str, chance: random.Random) -> str:
        words = _NOTICE.split()
        start = chance.randrange(len(words))
        notice = " ".join((words * 3)[start : start + num_words])
        return f"{notice}\n\n{text}\n\n{notice}"

    return change


def respace(text: str, chance: random.Random) -> str:
    return _WORD.sub(lambda match: match.group() + chance.choice(("", " ", "\n")), text)


def recase(text: str, chance: random.Random) -> str:
    return text.upper() if chance.random() < 0.5 else text.title()


def repunctuate(fraction: float) -> Change:
    """Take this fraction of the commas, semicolons and full stops away."""
    return lambda text, chance: re.sub(r"[,;.]", lambda m: "" if chance.random() < fraction else m.group(), text)


CHANGES: dict[str, Change] = {
    **{f"words, {100 * fraction:g} %": edit_words(fraction) for fraction in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)},
    **{f"sentences out of order, {100 * fraction:g} %": reorder(_SENTENCE, fraction) for fraction in (0.1, 0.5)},
    **{f"paragraphs out of order, {100 * fraction:g} %": reorder(r"\n\n+", fraction) for fraction in (0.2, 1.0)},
    **{f"cut short, {100 * fraction:g} %": truncate(fraction) for fraction in (0.05, 0.1, 0.2, 0.5)},
    **{f"notice of {num_words} words around": surround(num_words) for num_words in (5, 15, 40)},
    **{f"punctuation gone, {100 * fraction:g} %": repunctuate(fraction) for fraction in (0.05, 0.2, 1.0)},
    "other white space": respace,
    "other case": recase,
}


def plant(texts: list[str], copies_of_a_kind: int, seed: int) -> Iterator[Planted]:
    """Yield copies of texts chosen by chance, as many of each kind; a text is copied once at most."""
    chance = random.Random(seed)
    chosen = chance.sample(range(len(texts)), copies_of_a_kind * len(CHANGES))
    for at, number in enumerate(chosen):
        kind = list(CHANGES)[at % len(CHANGES)]
        yield Planted(kind, number, CHANGES[kind](texts[number], chance))
