"""Exact and near duplicates found one document after another, all in memory: the answer that a corpus must give.

It is slow and plain on purpose, and shares with headwater.corpus only how words are hashed and how band keys are made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from headwater.corpus.scripts import words_of
from headwater.corpus.sources.settings import DedupSettings
from headwater.corpus.words import MinHash, WordHasher, ngrams

FIRST, COMPARED = 16, 32  # of a group that shares a band; earlier documents that one is compared with


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    n = min(n, len(words))
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)} if n else set()


def jaccard(first: str, second: str, n: int = 5) -> float:
    a, b = shingles(first, n), shingles(second, n)
    return len(a & b) / max(len(a | b), 1)


def pairs_in_memory(bands: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Return the earlier documents that each is compared with, by the keys of each one's bands."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    pairs = {}
    for number, keys in bands.items():
        shared: Counter[int] = Counter()
        for key in enumerate(keys):
            shared.update({*groups[key][:FIRST], *groups[key][-1:]})
            groups[key].append(number)
        pairs[number] = sorted(shared, key=lambda other: (-shared[other], other))[:COMPARED]
    return pairs


def decisions_in_memory(texts: list[str], settings: DedupSettings) -> list[str]:
    """Return "kept", "exact_duplicate" or "near_duplicate" for every text; of several copies the first is kept."""
    minhash, hasher = MinHash(settings), WordHasher()
    seen: set[str] = set()
    bands: dict[int, Sequence[int]] = {}
    decisions = ["kept"] * len(texts)
    for number, text in enumerate(texts):
        words = words_of(text)
        if settings.exact and " ".join(words) in seen:
            decisions[number] = "exact_duplicate"
        elif settings.near:
            bands[number] = minhash.keys_of(minhash.signature(ngrams(hasher.hash(words), settings.shingle_words)))
        seen.add(" ".join(words))
    for number, others in pairs_in_memory(bands).items():
        kept = [texts[other] for other in others if decisions[other] == "kept"]
        if any(jaccard(texts[number], text, settings.shingle_words) >= settings.min_similarity for text in kept):
            decisions[number] = "near_duplicate"
    return decisions
