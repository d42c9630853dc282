"""Pairs of sentences that differ in number only: one is English, the other isn't.

The nouns are frequent in speeches, the Bible, the Factbook and Python's documentation, and none is used in the
almanac's own descriptions: their number has to be learned from real text. In every phenomenon the singular is right as
often as the plural, so that preferring one verb form is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterator


def _pairs(listed: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pair.split("/")) for pair in listed.split())


NOUNS = _pairs(
    "law/laws nation/nations state/states man/men country/countries child/children city/cities king/kings word/words "
    "house/houses function/functions value/values object/objects method/methods servant/servants program/programs"
)
# Owner nouns of "the laws of the nation", singular and plural.
OWNERS = _pairs("nation/nations country/countries state/states king/kings")
OWNED = _pairs("law/laws city/cities son/sons house/houses word/words servant/servants right/rights interest/interests")
ENDINGS = ("great", "good", "very strong", "not new", "known to all")
# A sentence at the very beginning of a document is rare in real text; the first of these is none.
OPENINGS = ("", "It is true that ", "They said that ", "We know that ", "But ")


def agreement_pairs() -> list[tuple[str, str, str]]:
    """Return (phenomenon, right sentence, wrong sentence); the openings take turns in every phenomenon."""
    makers = (_simple, _past, _perfect, _attractors, _owners, _demonstratives, _there, _pronouns)
    return [
        (name, _open(right, index // 2), _open(wrong, index // 2))
        for maker in makers
        for index, (name, right, wrong) in enumerate(maker())
    ]


def _open(sentence: str, turn: int) -> str:
    opening = OPENINGS[turn % len(OPENINGS)]
    return opening + sentence[0].lower() + sentence[1:] if opening else sentence


def _simple() -> Iterator[tuple[str, str, str]]:
    for index, (one, many) in enumerate(NOUNS):
        ending = ENDINGS[index % len(ENDINGS)]
        yield "subject-verb", f"The {one} is {ending}.", f"The {one} are {ending}."
        yield "subject-verb", f"The {many} are {ending}.", f"The {many} is {ending}."


def _past() -> Iterator[tuple[str, str, str]]:
    for index, (one, many) in enumerate(NOUNS):
        ending = ENDINGS[(index + 2) % len(ENDINGS)]
        yield "past", f"The {one} was {ending}.", f"The {one} were {ending}."
        yield "past", f"The {many} were {ending}.", f"The {many} was {ending}."


def _perfect() -> Iterator[tuple[str, str, str]]:
    endings = ("been changed", "come to an end", "no name", "a new name")
    for index, (one, many) in enumerate(NOUNS):
        ending = endings[index % len(endings)]
        yield "has-have", f"The {one} has {ending}.", f"The {one} have {ending}."
        yield "has-have", f"The {many} have {ending}.", f"The {many} has {ending}."


def _attractors() -> Iterator[tuple[str, str, str]]:
    """A noun of the other number stands between subject and verb."""
    for index, (one, many) in enumerate(OWNED):
        owner, owners = OWNERS[index % len(OWNERS)]
        yield "attractor", f"The {one} of the {owners} was good.", f"The {one} of the {owners} were good."
        yield "attractor", f"The {many} of the {owner} were good.", f"The {many} of the {owner} was good."


def _owners() -> Iterator[tuple[str, str, str]]:
    """The noun between has the subject's number."""
    for index, (one, many) in enumerate(OWNED):
        owner, owners = OWNERS[(index + 1) % len(OWNERS)]
        yield "of-phrase", f"The {one} of the {owner} is strong.", f"The {one} of the {owner} are strong."
        yield "of-phrase", f"The {many} of the {owners} are strong.", f"The {many} of the {owners} is strong."


def _demonstratives() -> Iterator[tuple[str, str, str]]:
    for one, many in NOUNS[:12]:
        yield "this-these", f"We know this {one}.", f"We know these {one}."
        yield "this-these", f"We know these {many}.", f"We know this {many}."


def _there() -> Iterator[tuple[str, str, str]]:
    for one, many in NOUNS[:12]:
        yield "there", f"There is a {one} in the land.", f"There are a {one} in the land."
        yield "there", f"There are many {many} in the land.", f"There is many {many} in the land."


def _pronouns() -> Iterator[tuple[str, str, str]]:
    for ending in ("in the house", "ready to go", "of one mind", "not afraid"):
        yield "pronoun", f"He is {ending}.", f"He are {ending}."
        yield "pronoun", f"They are {ending}.", f"They is {ending}."
        yield "pronoun", f"He was {ending}.", f"He were {ending}."
        yield "pronoun", f"We were {ending}.", f"We was {ending}."
    for ending in ("seen the people", "made the law", "heard the word", "done the work"):
        yield "pronoun", f"He has {ending}.", f"He have {ending}."
        yield "pronoun", f"They have {ending}.", f"They has {ending}."
