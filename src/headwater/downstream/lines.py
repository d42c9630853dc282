"""Files of JSON lines that people write, of prompts: each line is an item, or an error that names it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from headwater.core.errors import ConfigError, DataError

HELD_OUT_FRACTION, MAX_HELD_OUT = 0.2, 64
Item = TypeVar("Item")


class HasPrompt(Protocol):
    @property
    def prompt(self) -> str: ...


Prompted = TypeVar("Prompted", bound=HasPrompt)


def read_lines(path: Path, item_of: Callable[[dict[str, Any]], Item]) -> list[Item]:
    """Return the item of each line that isn't blank; `item_of` raises DataError for an object that makes none.

    Raises DataError that names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as UTF-8 text: {error}") from error
    found = []
    for index, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            found.append(item_of(value if isinstance(value, dict) else {}))
        except (ValueError, RecursionError):
            raise DataError(f"{path}:{index}: is no JSON; found {line!a:.120}") from None
        except DataError as error:
            raise DataError(f"{path}:{index}: {error}; found {line!a:.120}") from None
    return found


def divided(
    items: Sequence[Prompted], held_out: Sequence[Prompted] | None, seed: int
) -> tuple[list[Prompted], list[Prompted]]:
    """Return those to train on and some to measure; no prompt is in both."""
    prompts = list(dict.fromkeys(each.prompt for each in items))
    if held_out is not None:
        if both := {each.prompt for each in held_out}.intersection(prompts):
            raise DataError(f"{len(both)} held-out prompts are also trained on, such as {min(both)!a:.120}")
        return list(items), list(held_out)
    num_held_out = min(MAX_HELD_OUT, round(HELD_OUT_FRACTION * len(prompts)))
    if num_held_out < 2:
        raise ConfigError(
            f"{len(prompts)} prompts are too few to hold some out for measuring; give more, or those to measure in "
            "a file of their own, which `headwater downstream rl`, `dpo` and `reward` take by --held-out"
        )
    shuffled = random.Random(f"held out {seed}").sample(prompts, len(prompts))
    place_of = {prompt: place for place, prompt in enumerate(shuffled)}
    ordered = sorted(items, key=lambda each: place_of[each.prompt])
    num_measured = sum(place_of[each.prompt] < num_held_out for each in items)
    return ordered[num_measured:], ordered[:num_measured]
