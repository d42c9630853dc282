"""What no training document of any source may contain, as regular expressions."""

from __future__ import annotations

import re
from functools import cache

from headwater.corpus.samples.almanac.frames import frames
from headwater.corpus.samples.almanac.probes import probes
from headwater.corpus.samples.almanac.sums import held_out_sum_patterns


@cache
def held_out_patterns() -> tuple[re.Pattern[str], ...]:
    """Return patterns of which none may match anywhere in a training text.

    They are the held-out ways to say a capital (of any place, not only those in the almanac), the held-out sums in
    every form and in both orders, and the questions about cause and effect with either ending.
    Raises DataError when the World Factbook is not installed.
    """
    patterns = (*frames().held_out_patterns, *held_out_sum_patterns())
    return (*(re.compile(pattern) for pattern in patterns), *_causes())


def find_held_out(text: str) -> str | None:
    """Return the first held-out passage in `text`, or None."""
    return next((match.group() for pattern in held_out_patterns() if (match := pattern.search(text))), None)


def _causes() -> list[re.Pattern[str]]:
    """One pattern for each way the questions begin, so that the search can skip to its literal beginning."""
    beginnings: dict[str, list[str]] = {}
    for choice in probes()["cause"]:
        sentences = [re.escape(choice.prompt + option.rstrip(".")) for option in choice.options]
        beginnings.setdefault(choice.prompt.split(" ")[0], []).extend(sentences)
    return [re.compile("|".join(sentences)) for _, sentences in sorted(beginnings.items())]
