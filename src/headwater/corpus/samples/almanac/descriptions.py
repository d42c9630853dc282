"""Plain descriptions of things and people, in the singular and the plural.

They show the rule of agreement on their own nouns. The nouns of the agreement probes are not among them: that
"laws" is a plural and "law" isn't has to come from real text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle


def _nouns(regular: str, *irregular: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (*((noun, noun + "s") for noun in regular.split()), *irregular)


THINGS = _nouns(
    "cup lamp door window letter coin shoe wheel boat picture basket bell bridge stone table chair "
    "ribbon hammer wagon barrel candle blanket button bottle",
    ("knife", "knives"),
    ("box", "boxes"),
    ("shelf", "shelves"),
    ("brush", "brushes"),
)
PEOPLE = _nouns(
    "brother sister friend neighbour teacher soldier farmer sailor guest cousin driver dancer",
    ("woman", "women"),
    ("lady", "ladies"),
)
_OF_THINGS = "old new small large heavy clean white black red empty broken beautiful"
_OF_PEOPLE = "old young tall tired happy busy kind quiet late ready brave hungry"
ADJECTIVES = {"things": _OF_THINGS.split(), "people": _OF_PEOPLE.split()}
DEEDS = {
    "things": ("been sold", "been found", "been lost", "been mended", "been cleaned", "been moved"),
    "people": ("gone home", "come back", "seen the town", "lost the way", "learned to swim", "told a story"),
}
PLACES = ("near", "behind", "beside", "in front of")
VERBS = {"is": "are", "was": "were", "has": "have"}


def description_documents(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (title, text) without end: singular and plural equally often, in every construction."""
    album = _Album(rng)
    kinds: ShuffledCycle[Callable[[_Album, bool], str]] = ShuffledCycle(
        [_plain, _past, _done, _beside, _beside, _of, _pointed_out, _there, _pronoun], rng
    )
    numbers = ShuffledCycle((True, False), rng)
    while True:
        sentences = [kinds.draw()(album, numbers.draw()) for _ in range(rng.randint(3, 5))]
        yield "Descriptions", " ".join(sentences)


class _Album:
    """The packs of nouns; `subject` gives a noun with what can be said of it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.things, self.people = ShuffledCycle(THINGS, rng), ShuffledCycle(PEOPLE, rng)

    def subject(self, plural: bool) -> tuple[str, str]:
        """Return the kind of noun and the noun."""
        kind = self.rng.choice(("things", "people"))
        return kind, (self.things if kind == "things" else self.people).draw()[plural]

    def adjective(self, kind: str) -> str:
        return self.rng.choice(ADJECTIVES[kind])


def _verb(singular: str, plural: bool) -> str:
    return VERBS[singular] if plural else singular


def _plain(album: _Album, plural: bool) -> str:
    kind, noun = album.subject(plural)
    return f"The {noun} {_verb('is', plural)} {album.adjective(kind)}."


def _past(album: _Album, plural: bool) -> str:
    kind, noun = album.subject(plural)
    opening = album.rng.choice(("The", "In the morning the", "Last year the", "I saw that the"))
    return f"{opening} {noun} {_verb('was', plural)} {album.adjective(kind)}."


def _done(album: _Album, plural: bool) -> str:
    kind, noun = album.subject(plural)
    return f"The {noun} {_verb('has', plural)} {album.rng.choice(DEEDS[kind])}."


def _beside(album: _Album, plural: bool) -> str:
    """Another noun, of either number, stands between the subject and its verb."""
    kind, noun = album.subject(plural)
    other = album.things.draw()[album.rng.randrange(2)]
    verb = _verb(album.rng.choice(("is", "was")), plural)
    return f"The {noun} {album.rng.choice(PLACES)} the {other} {verb} {album.adjective(kind)}."


def _of(album: _Album, plural: bool) -> str:
    noun, owner = album.things.draw()[plural], album.people.draw()[album.rng.randrange(2)]
    verb = _verb(album.rng.choice(("is", "was")), plural)
    return f"The {noun} of the {owner} {verb} {album.adjective('things')}."


def _pointed_out(album: _Album, plural: bool) -> str:
    kind, noun = album.subject(plural)
    which = album.rng.choice((("This", "These"), ("That", "Those")))[plural]
    return f"{which} {noun} {_verb('is', plural)} {album.adjective(kind)}."


def _there(album: _Album, plural: bool) -> str:
    _, noun = album.subject(plural)
    place = album.things.draw()[0]
    article = "an" if noun[0] in "aeiou" else "a"
    how_many = album.rng.choice(("two", "some", "many", "three")) if plural else article
    return f"There {_verb(album.rng.choice(('is', 'was')), plural)} {how_many} {noun} beside the {place}."


def _pronoun(album: _Album, plural: bool) -> str:
    who = album.rng.choice(("They", "We") if plural else ("He", "She"))
    if album.rng.random() < 0.4:
        return f"{who} {_verb('has', plural)} {album.rng.choice(DEEDS['people'])}."
    return f"{who} {_verb(album.rng.choice(('is', 'was')), plural)} {album.adjective('people')}."
