"""What follows from what: each mechanism has two opposite causes, two opposite effects and the things it happens to.

A cause is a clause; "{s}" in it is the thing. An effect is what is said of the thing; "{was}" in it is "was" or
"were". After "/" stands the thing's pronoun where it isn't "it". The last two things of every mechanism are held
out: training never shows them in that mechanism, the probes show nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources


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
