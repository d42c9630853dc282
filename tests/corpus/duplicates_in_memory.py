"""Exact and near duplicates found one document after another, all in memory: the answer that the tasks must give.

It is slow and plain on purpose, and shares with headwater.corpus.tasks only how words are hashed and how band keys
are made.
"""

from __future__ import annotations

from collections import Counter

from headwater.corpus.scripts import words_of
from headwater.corpus.sources.settings import DedupSettings
from headwater.corpus.words import MinHash, WordHasher


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    n = min(n, len(words))
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)} if n else set()


def jaccard(first: str, second: str, n: int = 5) -> float:
    a, b = shingles(first, n), shingles(second, n)
    return len(a & b) / max(len(a | b), 1)


def decisions_in_memory(texts: list[str], settings: DedupSettings) -> list[str]:
    """Return "kept", "exact_duplicate" or "near_duplicate" for every text; of several copies the first is kept."""
    minhash, hasher = MinHash(settings), WordHasher()
    seen: set[str] = set()
    bands: dict[tuple[int, int], list[int]] = {}
    decisions = []
    for number, text in enumerate(texts):
        words = words_of(text)
        if settings.exact and " ".join(words) in seen:
            decisions.append("exact_duplicate")
            continue
        seen.add(" ".join(words))
        keys = list(enumerate(minhash.band_keys(hasher.hash(words)))) if settings.near else []
        shared = Counter(other for key in keys for other in bands.get(key, []))
        if any(jaccard(text, texts[other], settings.shingle_words) >= settings.min_similarity for other in shared):
            decisions.append("near_duplicate")
            continue
        decisions.append("kept")
        for key in keys:
            bands.setdefault(key, []).append(number)
    return decisions
