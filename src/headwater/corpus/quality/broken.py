"""A quality rule that a document breaks: the reason it is dropped for, and the measure and its limit for a person."""

from __future__ import annotations

from typing import NamedTuple


class Broken(NamedTuple):
    """The reason, and what decided; empty where the reason says all of it."""

    reason: str
    because: str = ""


def below(reason: str, value: float, limit: float | None, what: str) -> Broken | None:
    """Return the rule as broken where a value is below its limit. `what` says what is measured: "words", "score"."""
    return None if limit is None or value >= limit else Broken(reason, f"{what}: {too_little(value, limit)}")


def above(reason: str, value: float, limit: float | None, what: str) -> Broken | None:
    """Return the rule as broken where a value is above its limit."""
    return None if limit is None or value <= limit else Broken(reason, f"{what}: {too_much(value, limit)}")


def too_little(value: float, limit: float) -> str:
    return f"{_shown(value, limit)}, {_number(limit)} at least"


def too_much(value: float, limit: float) -> str:
    return f"{_shown(value, limit)}, {_number(limit)} at most"


def _shown(value: float, limit: float) -> str:
    """Return a value with as many digits as tell it from the limit that it missed, two at least."""
    if isinstance(value, int):
        return _number(value)
    digits = next((digits for digits in range(2, 17) if float(f"{value:.{digits}g}") != limit), 17)
    return _number(float(f"{value:.{digits}g}"))


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")
