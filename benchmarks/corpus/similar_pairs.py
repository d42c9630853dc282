"""Every pair of texts whose sets of word shingles have a Jaccard similarity of at least a threshold: none is missed.

Prefix filtering (Chaudhuri et al. 2006): two sets that similar share one of the rarest few elements of each.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import xxhash

SHINGLE_WORDS = 5


def shingle_set(text: str) -> frozenset[int]:
    """Return 64-bit numbers for the runs of five words of a text, in lower case; of a shorter text the one run."""
    words = text.lower().split()
    runs = range(max(1, len(words) - SHINGLE_WORDS + 1))
    return frozenset(xxhash.xxh3_64_intdigest(" ".join(words[at : at + SHINGLE_WORDS]).encode()) for at in runs)


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def earlier_similar(sets: list[frozenset[int]], threshold: float) -> dict[int, list[int]]:
    """Return {number: earlier numbers with a similarity of at least `threshold`} for those that have any."""
    counts: Counter[int] = Counter()
    for elements in sets:
        counts.update(elements)
    holders: dict[int, list[int]] = defaultdict(list)
    found: dict[int, list[int]] = {}
    for number, elements in enumerate(sets):
        rarest_first = sorted(elements, key=lambda element: (counts[element], element))
        prefix = rarest_first[: len(elements) - math.ceil(threshold * len(elements)) + 1]
        candidates = {other for element in prefix for other in holders[element]}
        similar = [other for other in sorted(candidates) if _is_similar(elements, sets[other], threshold)]
        if similar:
            found[number] = similar
        for element in prefix:
            if counts[element] > 1:
                holders[element].append(number)
    return found


def _is_similar(first: frozenset[int], second: frozenset[int], threshold: float) -> bool:
    small, large = sorted((len(first), len(second)))
    return small >= threshold * large and jaccard(first, second) >= threshold
