"""Which documents are held out for validation: a hash decides, so that a new document never moves another."""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

MAX_VALIDATION_BYTES_FRACTION = 0.1
MIN_TAIL_BYTES = 500


@dataclass(frozen=True, slots=True)
class Split:
    """The numbers of a source's validation documents; or, when `tail_of` is set, the end of that document is held out.

    `tail_bytes` is about how much of its end.
    """

    validation: frozenset[int]
    tail_of: int | None = None
    tail_bytes: int = 0


def split_hash(key: str, seed: int) -> int:
    """Return the 64-bit number that decides on which side a document with this text (or group) falls."""
    return xxhash.xxh3_64_intdigest(key.encode(), seed=seed)


def split(hashes: list[int], sizes: list[int], fraction: float) -> Split:
    """Choose a source's validation documents by their hashes; `sizes` are bytes.

    A document is held out when its hash is below `fraction`; if none is, the one with the smallest hash. A source of
    few, long documents would lose too much that way: where the choice is over a tenth of the bytes, the end of the
    longest document is held out instead (at least 500 bytes, and never more than half of it). Of a source too small
    even for that nothing is held out, unless it has two documents or more.
    """
    if not hashes:
        return Split(frozenset())
    chosen = [number for number, value in enumerate(hashes) if value < fraction * 2**64]
    smallest = min(range(len(hashes)), key=lambda number: (hashes[number], number))
    chosen = chosen or [smallest]
    total = sum(sizes)
    if sum(sizes[number] for number in chosen) <= MAX_VALIDATION_BYTES_FRACTION * total:
        return Split(frozenset(chosen))
    longest = max(range(len(sizes)), key=lambda number: (sizes[number], -number))
    tail_bytes = max(int(fraction * total), MIN_TAIL_BYTES)
    if 2 * tail_bytes <= sizes[longest]:
        return Split(frozenset(), longest, tail_bytes)
    return Split(frozenset([smallest]) if len(hashes) > 1 else frozenset())
