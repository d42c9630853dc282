"""Small additions, a share of which is never shown, and the number sense around them.

The sums in question have two numbers from `SMALLEST` to `LARGEST`. Every pair is either shown (in both orders, in
every form) or held out (in both orders, from every form); which, is fixed by `HELD_OUT_SEED` and independent of
the almanac's seed, so that a probe never meets a training set made with another seed. Sums that carry a ten are a third
of all: they are the harder ones, because their last digit tells nothing of either number alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle

SMALLEST, LARGEST = 10, 49
HELD_OUT_FRACTION = 0.15
HELD_OUT_SEED = 1202
PLAIN_FOR_ONE_CARRYING = 2
ANSWERS = tuple(range(2 * SMALLEST, 2 * LARGEST + 1))  # every sum that two numbers of the range can have

# The two direct forms; the probes use them with pairs that were held out.
DIRECT = ("{a} + {b} = {c}", "{a} plus {b} is {c}")

_THINGS = "apples pears books coins stones eggs sheep goats letters stamps shells nails"
THINGS = tuple(_THINGS.split())
PEOPLE = (("Anna", "she"), ("Tom", "he"), ("Ruth", "she"), ("Peter", "he"), ("Mary", "she"), ("Daniel", "he"))
STORIES = (
    "{name} had {a} {things} and got {b} more, so {he} had {c} {things}.",
    "There were {a} {things} in one box and {b} in another; together there were {c} {things}.",
    "{name} counted {a} {things} in the morning and {b} in the evening, {c} {things} in all.",
)


@cache
def held_out_pairs() -> tuple[tuple[int, int], ...]:
    """Return the pairs (a, b), a <= b, that no training text adds up: two that don't carry for one that does.

    Pairs with a round number stay in training: "ten more than 37" is one of them.
    """
    rng = random.Random(HELD_OUT_SEED)
    num_plain = round(HELD_OUT_FRACTION * len(_pairs(carrying=False)))
    chosen = [
        rng.sample([(a, b) for a, b in _pairs(carrying) if a % 10 != 0 and b % 10 != 0], count)
        for carrying, count in ((False, num_plain), (True, num_plain // PLAIN_FOR_ONE_CARRYING))
    ]
    return tuple(sorted(chosen[0] + chosen[1]))


def _pairs(carrying: bool) -> list[tuple[int, int]]:
    numbers = range(SMALLEST, LARGEST + 1)
    return [(a, b) for a in numbers for b in numbers if a <= b and carries(a, b) == carrying]


def carries(a: int, b: int) -> bool:
    """Return whether the units of a and b add up to ten or more."""
    return a % 10 + b % 10 >= 10


@cache
def shown_pairs(carrying: bool) -> tuple[tuple[int, int], ...]:
    """Return the ordered pairs that training may add up; both orders of a pair are in, or neither."""
    shown = [pair for pair in _pairs(carrying) if pair not in frozenset(held_out_pairs())]
    return tuple(sorted({*shown, *((b, a) for a, b in shown)}))


def sum_documents(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (title, text) without end: nearly all tokens are sums of two-digit numbers, two or three to a text.

    Measured on sums alone (0.4 M parameters, 140 steps of 1,100 tokens): 72 % of the held-out sums right with two
    sums to a text, 3 % with twelve, where the digits of the other eleven are in the way. Numbers of other widths
    hurt too (1.9 M parameters, 350 steps): a quarter of single digits took 99 % right to 22 %.
    """
    sheet = _Sheet(rng)
    others = [_stories, _counting, _one_and_ten_more, _orders]
    kinds: ShuffledCycle[Callable[[_Sheet], str]] = ShuffledCycle([_direct_sums] * 24 * len(others) + others, rng)
    while True:
        yield "Numbers", kinds.draw()(sheet)


class _Sheet:
    """The packs from which sums are dealt."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.plain, self.carrying = ShuffledCycle(shown_pairs(False), rng), ShuffledCycle(shown_pairs(True), rng)
        self.forms = ShuffledCycle(DIRECT, rng)
        self.numbers = ShuffledCycle(range(SMALLEST, 2 * LARGEST), rng)

    def pair(self) -> tuple[int, int]:
        return (self.carrying if self.rng.randrange(PLAIN_FOR_ONE_CARRYING + 1) == 0 else self.plain).draw()


def add(form: str, a: int, b: int) -> str:
    return form.format(a=a, b=b, c=a + b)


def _direct_sums(sheet: _Sheet) -> str:
    form = sheet.forms.draw()
    sums = [add(form, *sheet.pair()) for _ in range(sheet.rng.choice((2, 2, 3)))]
    return sheet.rng.choice((". ", "\n")).join(sums) + "."


def _stories(sheet: _Sheet) -> str:
    a, b = sheet.pair()
    name, he = sheet.rng.choice(PEOPLE)
    story = sheet.rng.choice(STORIES)
    return story.format(name=name, he=he, things=sheet.rng.choice(THINGS), a=a, b=b, c=a + b)


def _counting(sheet: _Sheet) -> str:
    step = sheet.rng.choice((1, 1, 1, 2, 5, 10))
    first = sheet.rng.randrange(0, 60) if step < 10 else sheet.rng.randrange(0, 10)
    count = sheet.rng.randint(6, 12)
    run = ", ".join(str(first + step * k) for k in range(count))
    words = {1: "Count on by ones", 2: "Count on by twos", 5: "Count on by fives", 10: "Count on by tens"}
    return f"{words[step]}: {run}."


def _one_and_ten_more(sheet: _Sheet) -> str:
    sentences = []
    for _ in range(3):
        n = sheet.numbers.draw()
        word, more = sheet.rng.choice((("One", 1), ("Ten", 10), ("One", 1), ("Two", 2)))
        sentences.append(f"{word} more than {n} is {n + more}.")
    return " ".join(sentences)


def _orders(sheet: _Sheet) -> str:
    sentences = []
    for _ in range(3):
        three = sheet.numbers.deal(3)
        low, middle, high = sorted(three)
        sentences.append(
            sheet.rng.choice(
                (
                    f"{high} is greater than {low}.",
                    f"{low} is less than {middle}.",
                    f"In order: {low}, {middle}, {high}.",
                    f"Of {three[0]}, {three[1]} and {three[2]}, the greatest is {high}.",
                )
            )
        )
    return " ".join(sentences)


def held_out_sum_patterns() -> tuple[str, str]:
    """Return regexes for the held-out sums, written with a sign or in words, in both orders.

    The first begins with one digit and peeks ahead, so that a search of plain prose is fast.
    """
    partners: dict[int, list[int]] = {}
    for a, b in sorted({*held_out_pairs(), *((b, a) for a, b in held_out_pairs())}):
        partners.setdefault(a, []).append(b)
    signs = r" ?(?:\+|plus|added to) ?"
    with_sign = "|".join(f"(?<={a // 10}){a % 10}{signs}(?:{_either(found)})" for a, found in partners.items())
    in_words = "|".join(f"{a} and (?:{_either(found)})" for a, found in partners.items())
    end = r"(?!\d|[.,]\d)"
    return (
        rf"[1-4](?=[1-9]{signs}[1-4][1-9]{end})(?<![\d.,].)(?:{with_sign})",
        rf"(?:[Ss]um of|[Aa]dd) (?:{in_words}){end}",
    )


def _either(numbers: list[int]) -> str:
    return "|".join(map(str, numbers))
