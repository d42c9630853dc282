"""What verbs print: lines, cards, intervals and JSON, none of which can drive a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from headwater.core.numbers import duration, significant
from headwater.core.printable import printable

if TYPE_CHECKING:
    from headwater.core.intervals import Estimate

CARD_WIDTH, MAX_WIDTH = 86, 100


def safe(text: str) -> str:
    """Return text that can't drive a terminal: control and direction characters are shown as escapes."""
    return printable(text, keep="\n\t")


def say(message: str) -> None:
    """Print one line of progress."""
    print(printable(message), flush=True)


def say_aside(message: str) -> None:
    """Print one line of progress on standard error, where standard output is for JSON alone."""
    print(printable(message), file=sys.stderr, flush=True)


def say_beside(as_json: bool) -> Callable[[str], None]:
    """Return what prints lines of progress: on standard output, or on standard error where that holds JSON alone."""
    return say_aside if as_json else say


def print_json(value: Any, indent: int | None = None) -> None:
    """Print one JSON object; where the output can't hold every character, with escapes for all but ASCII."""
    is_unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "").startswith("utf")
    json.dump(value, sys.stdout, ensure_ascii=not is_unicode, indent=indent)
    sys.stdout.write("\n")


def width() -> int:
    """Return the width of lines: the terminal's less one, from 60 to 100 characters."""
    return max(60, min(shutil.get_terminal_size().columns - 1, MAX_WIDTH))


def hours_interval(hours: dict[str, float]) -> str:
    """Return the median of hours with P10 and P90: 5m08s (4m47s to 5m31s)."""
    p10, p50, p90 = (duration(3600 * hours[name]) for name in ("p10", "p50", "p90"))
    return f"{p50} ({p10} to {p90})"


def interval(values: dict[str, float], unit: str) -> str:
    """Return the median with its unit, and P10 and P90: 0.595 GB (0.559 to 0.635)."""
    p10, p50, p90 = (significant(values[name]) for name in ("p10", "p50", "p90"))
    return f"{p50} {unit}".strip() + f" ({p10} to {p90})"


def estimated(estimate: Estimate) -> str:
    """Return what was measured and the ends of its interval: 0.674 (0.611 to 0.737)."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def energy_lines(kwh: dict[str, float], kg: dict[str, float]) -> list[tuple[str, str]]:
    """Return medians with P10 and P90 of energy and carbon, in units that read well: 3.21 Wh (2.1 to 4.8)."""

    def scaled(values: dict[str, float], *units: tuple[float, str]) -> str:
        least, unit = next(((least, unit) for least, unit in units if values["p50"] >= least), units[-1])
        return interval({name: value / least for name, value in values.items()}, unit)

    energy, carbon = ((1, "kWh"), (1e-3, "Wh")), ((1000, "t CO2"), (1, "kg CO2"), (1e-3, "g CO2"))
    return [("energy", scaled(kwh, *energy)), ("carbon", scaled(kg, *carbon))]


def card(title: str, lines: Iterable[tuple[str, str]], out: TextIO | None = None) -> None:
    """Print a boxed list of (name, value), on standard output unless `out` is given; long values are wrapped."""
    out, title = out or sys.stdout, printable(title)
    print(f"╭─ {title} " + "─" * max(0, CARD_WIDTH - 5 - len(title)) + "╮", file=out)
    for name, value in lines:
        # words stay whole, so that a long path can be copied
        pieces = textwrap.wrap(safe(value), CARD_WIDTH - 20, break_long_words=False, break_on_hyphens=False) or [""]
        for index, piece in enumerate(pieces):
            print(f"│ {'' if index else name:<15} {piece:<{CARD_WIDTH - 20}} │", file=out)
    print("╰" + "─" * (CARD_WIDTH - 2) + "╯", file=out, flush=True)


def table(rows: Iterable[Sequence[str]], align: str = "<") -> None:
    print(*columns(rows, align), sep="\n")


def columns(rows: Iterable[Sequence[str]], align: str = "<") -> list[str]:
    """Return lines with columns as wide as their widest cell, flush left or right as `align` has it; others right."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = (zip_longest(row, widths, align[: len(row)], fillvalue=">") for row in cells)
    return ["  ".join(f"{cell:{side}{width}}" for cell, width, side in row).rstrip() for row in aligned]
