"""Sentences that join a cause and its effect, and the joints and things that are kept for the probes.

What follows from what stands in mechanisms.txt: two opposite causes, two opposite effects and the things they happen
to. A cause is a clause; "{s}" in it is the thing. An effect is what is said of the thing; "{was}" in it is "was" or
"were". After "/" stands the thing's pronoun where it isn't "it". The last two things of every mechanism are held out:
training never shows them in that mechanism, the probes show nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle

# {C} the cause at the start of a sentence, {c} inside one; {E} and {e} the effect likewise.
CAUSE_FIRST = (
    "Because {c}, {e}.",
    "{C}, so {e}.",
    "Since {c}, {e}.",
    "When {c}, {e}.",
    "{C}. As a result, {e}.",
    "{C}, and therefore {e}.",
)
EFFECT_FIRST = ("{E} because {c}.",)
# Never in a training text of the almanac.
HELD_OUT_JOINTS = ("Owing to the fact that {c}, {e}.", "{C}, and for that reason {e}.")
OBJECT_PRONOUNS = {"it": "it", "they": "them", "he": "him", "she": "her"}


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Each of `first_causes` leads to each of `first_effects`, and likewise the second.

    Two causes and one effect a side: with three and two, each was seen too seldom in a run of minutes to be learned.
    """

    things: tuple[str, ...]
    first_causes: tuple[str, ...]
    first_effects: tuple[str, ...]
    second_causes: tuple[str, ...]
    second_effects: tuple[str, ...]

    @property
    def shown_things(self) -> tuple[str, ...]:
        return self.things[:-NUM_HELD_OUT_THINGS]

    @property
    def held_out_things(self) -> tuple[str, ...]:
        return self.things[-NUM_HELD_OUT_THINGS:]


NUM_HELD_OUT_THINGS = 2


@cache
def mechanisms() -> tuple[Mechanism, ...]:
    """Parse mechanisms.txt: five lines a mechanism, parts of a line separated by " | "."""
    text = (resources.files(__package__) / "mechanisms.txt").read_text(encoding="utf-8")
    found = []
    for block in text.strip().split("\n\n"):
        things, *rest = (tuple(part.strip() for part in line.split("|")) for line in block.splitlines())
        first_causes, first_effects, second_causes, second_effects = rest
        found.append(Mechanism(things, first_causes, first_effects, second_causes, second_effects))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Thing:
    """What a mechanism happens to: "the river/it"."""

    name: str
    pronoun: str

    @classmethod
    def parse(cls, text: str) -> Thing:
        name, _, pronoun = text.partition("/")
        return cls(name, pronoun or "it")


def cause_documents(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (title, text) without end: every mechanism and joint equally often, each direction equally often.

    A text has no mechanism's case twice, so that an effect has to be known and can't be copied.
    """
    cases = ShuffledCycle([(mechanism, first) for mechanism in mechanisms() for first in (True, False)], rng)
    joints = ShuffledCycle(CAUSE_FIRST * 2 + EFFECT_FIRST * 2, rng)
    while True:
        hand = cases.deal(rng.randint(2, 5))
        yield "Causes and effects", " ".join(_sentence(*case, joints.draw(), rng) for case in hand)


def _sentence(mechanism: Mechanism, first: bool, joint: str, rng: random.Random) -> str:
    causes = mechanism.first_causes if first else mechanism.second_causes
    effects = mechanism.first_effects if first else mechanism.second_effects
    thing = Thing.parse(rng.choice(mechanism.shown_things))
    return join(joint, rng.choice(causes), rng.choice(effects), thing)


def join(joint: str, cause: str, effect: str, thing: Thing) -> str:
    """Return the sentence; the thing is named once and then called by its pronoun."""
    predicate = effect.replace("{was}", "were" if thing.pronoun == "they" else "was")
    effect_first = joint.startswith("{E}")
    if "{s}" not in cause:
        cause_clause, effect_clause = cause, f"{thing.name} {predicate}"
    elif effect_first:
        cause_clause, effect_clause = _with_pronoun(cause, thing.pronoun), f"{thing.name} {predicate}"
    else:
        cause_clause, effect_clause = cause.replace("{s}", thing.name), f"{thing.pronoun} {predicate}"
    return joint.format(c=cause_clause, C=_capital(cause_clause), e=effect_clause, E=_capital(effect_clause))


def _with_pronoun(cause: str, pronoun: str) -> str:
    start, *rest = cause.split("{s}")
    text = OBJECT_PRONOUNS[pronoun].join([start, *rest]) if start else pronoun + OBJECT_PRONOUNS[pronoun].join(rest)
    return text


def _capital(clause: str) -> str:
    return clause[0].upper() + clause[1:]
