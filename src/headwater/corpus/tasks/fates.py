"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.exact import copy_marks, firsts_of_copies
from headwater.corpus.tasks.marks import Marks, mark_ranges, write_marks
from headwater.corpus.tasks.segments import Segment, Segments
from headwater.corpus.tasks.work import Work

KEPT, EXACT_DUPLICATE, NEAR_DUPLICATE = 0, 1, 2
REASONS = {EXACT_DUPLICATE: "exact_duplicate", NEAR_DUPLICATE: "near_duplicate"}
_FACTS = "fates"
_PAIRS_AT_ONCE = 1 << 17  # decided together, since pairs of a few parts each may need every file of marks


def decide_fates(work: Work, segments: Segments, verified_parts: list[int]) -> None:
    """Write every candidate's fate."""
    if work.has_facts(_FACTS):
        return
    copies = copy_marks(work)
    parts = np.array(verified_parts, dtype=np.int64)
    bounds = np.append(segments.part_starts, segments.num_documents)
    with work.new_facts(_FACTS) as output:
        decided = Marks(output.folder)
        for start, end in mark_ranges(segments.num_documents):
            fates = bytearray(copies.between(start, end))
            first = int(np.searchsorted(bounds[parts + 1], start, side="right"))
            last = int(np.searchsorted(bounds[parts], end))
            of_parts = (_verified(work, part, start, end) for part in parts[first:last].tolist())
            for pairs in _together(of_parts):
                _drop_near_(fates, start, pairs, decided)
            write_marks(output, start, np.frombuffer(fates, dtype=np.uint8))


def _together(tables: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the rows of tables, in their order, in pieces of about _PAIRS_AT_ONCE."""
    waiting, num_waiting = list[np.ndarray](), 0
    for table in tables:
        for start in range(0, len(table), _PAIRS_AT_ONCE):
            waiting.append(table[start : start + _PAIRS_AT_ONCE])
            num_waiting += len(waiting[-1])
            if num_waiting >= _PAIRS_AT_ONCE:
                yield np.concatenate(waiting)
                waiting, num_waiting = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _drop_near_(fates: bytearray, start: int, pairs: np.ndarray, decided: Marks) -> None:
    """Note which documents are near duplicates, in the fates of those from `start` on: pairs are in their order."""
    later, earlier = pairs["document"] - np.uint64(start), pairs["earlier"]
    is_decided = earlier < start
    kept_before = later[is_decided][decided.of(earlier[is_decided]) == KEPT]
    of_before = np.frombuffer(fates, dtype=np.uint8)
    of_before[kept_before[of_before[kept_before] == KEPT]] = NEAR_DUPLICATE
    for one, other in zip(later[~is_decided].tolist(), (earlier[~is_decided] - np.uint64(start)).tolist()):
        if fates[one] == KEPT and fates[other] == KEPT:
            fates[one] = NEAR_DUPLICATE


def _verified(work: Work, part: int, start: int, end: int) -> np.ndarray:
    """Return the pairs of a part whose later document is in [start, end), sorted by it."""
    return work.arrays_of("verify", part).between("pairs", start, end)


def originals_of(bench: Bench, segment: Segment, fates: Marks) -> dict[int, int]:
    """Return the earlier document that each dropped document of a segment is a duplicate of, by their numbers."""
    start, end = segment.start, segment.end
    own, found = fates.between(start, end), dict[int, int]()
    if (own == EXACT_DUPLICATE).any():
        found = firsts_of_copies(bench.found("exact"), start, end)
    if (own == NEAR_DUPLICATE).any():
        pairs = _verified(bench.work, segment.part, start, end)
        is_original = fates.of(pairs["earlier"]) == KEPT
        is_original &= own[pairs["document"] - np.uint64(start)] == NEAR_DUPLICATE
        for later, earlier in pairs[is_original].tolist():
            found.setdefault(later, earlier)
    return found


def fates_of(work: Work) -> Marks:
    """Return every candidate's fate."""
    return Marks(work.facts_folder(_FACTS))
