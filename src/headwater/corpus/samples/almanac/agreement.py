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


# a phenomenon, its nouns, the words for one and for many, what a sentence ends in by turns, and the sentence
_SAID_OF = "The {noun} {word} {ending}."
_FRAMES = (
    ("subject-verb", NOUNS, "is are", ENDINGS, _SAID_OF),
    ("past", NOUNS, "was were", (*ENDINGS[2:], *ENDINGS[:2]), _SAID_OF),
    ("has-have", NOUNS, "has have", ("been changed", "come to an end", "no name", "a new name"), _SAID_OF),
    # a noun of the other number stands between subject and verb; or one of the subject's
    ("attractor", OWNED, "was were", ("good",), "The {noun} of the {other} {word} {ending}."),
    ("of-phrase", OWNED, "is are", ("strong",), "The {noun} of the {owner} {word} {ending}."),
    ("this-these", NOUNS[:12], "this these", ("",), "We know {word} {noun}."),
    ("there", NOUNS[:12], "is are", ("",), "There {word} {many} {noun} in the land."),
)
_STATES = ("in the house", "ready to go", "of one mind", "not afraid")
_DEEDS = ("seen the people", "made the law", "heard the word", "done the work")


def agreement_pairs() -> list[tuple[str, str, str]]:
    """Return (phenomenon, right sentence, wrong sentence); the openings take turns in every phenomenon."""
    makers = (*(_framed(*frame) for frame in _FRAMES), _pronouns())
    return [
        (name, _open(right, index // 2), _open(wrong, index // 2))
        for maker in makers
        for index, (name, right, wrong) in enumerate(maker)
    ]


def _open(sentence: str, turn: int) -> str:
    opening = OPENINGS[turn % len(OPENINGS)]
    return opening + sentence[0].lower() + sentence[1:] if opening else sentence


def _framed(
    name: str, nouns: tuple[tuple[str, ...], ...], words: str, endings: tuple[str, ...], frame: str
) -> Iterator[tuple[str, str, str]]:
    for index, pair in enumerate(nouns):
        for number, noun in enumerate(pair):
            said = {"noun": noun, "ending": endings[index % len(endings)], "many": ("a", "many")[number]}
            said["other"] = OWNERS[index % len(OWNERS)][1 - number]
            said["owner"] = OWNERS[(index + 1) % len(OWNERS)][number]
            right, wrong = (words.split()[each] for each in (number, 1 - number))
            yield name, frame.format(word=right, **said), frame.format(word=wrong, **said)


def _pronouns() -> Iterator[tuple[str, str, str]]:
    for ending in _STATES:
        for who, right, wrong in (
            ("He", "is", "are"),
            ("They", "are", "is"),
            ("He", "was", "were"),
            ("We", "were", "was"),
        ):
            yield "pronoun", f"{who} {right} {ending}.", f"{who} {wrong} {ending}."
    for ending in _DEEDS:
        for who, right, wrong in (("He", "has", "have"), ("They", "have", "has")):
            yield "pronoun", f"{who} {right} {ending}.", f"{who} {wrong} {ending}."
