"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headwater.corpus.tasks.exact import copy_marks, firsts_of_copies, num_exact_tasks
from headwater.corpus.tasks.segments import Segment, Segments
from headwater.corpus.tasks.work import Work

KEPT, EXACT_DUPLICATE, NEAR_DUPLICATE = 0, 1, 2
REASONS = {EXACT_DUPLICATE: "exact_duplicate", NEAR_DUPLICATE: "near_duplicate"}
_FACTS = "fates"


def decide_fates(work: Work, verified_parts: list[int]) -> None:
    """Write every candidate's fate, a byte each."""
    if work.has_facts(_FACTS):
        return
    fates = np.array(copy_marks(work))
    for part in verified_parts:
        for later, earlier in _verified(work, part):
            if fates[later] == KEPT and fates[earlier] == KEPT:
                fates[later] = NEAR_DUPLICATE
    with work.new_facts(_FACTS) as output:
        output.write_arrays({"fates": fates})


def _verified(work: Work, part: int, start: int = 0, end: int = 2**63) -> Iterator[tuple[int, int]]:
    """Return the pairs of a part whose later document is in [start, end), sorted by it."""
    file = work.arrays_of("verify", part)
    place = slice(*np.searchsorted(file.map("later"), np.array([start, end], dtype=np.uint64)))
    return zip(file.map("later")[place].tolist(), file.map("earlier")[place].tolist())


def originals_of(work: Work, segments: Segments, segment: Segment, fates: np.ndarray) -> dict[int, int]:
    """Return the earlier document that each dropped document of a segment is a duplicate of, by their numbers."""
    start, end = segment.start, segment.end
    found = dict[int, int]()
    if (fates[start:end] == EXACT_DUPLICATE).any():
        found = firsts_of_copies(work, num_exact_tasks(segments), start, end)
    if (fates[start:end] == NEAR_DUPLICATE).any():
        for later, earlier in _verified(work, segment.part, start, end):
            if fates[later] == NEAR_DUPLICATE and fates[earlier] == KEPT:
                found.setdefault(later, earlier)
    return found


def fates_of(work: Work) -> np.ndarray:
    """Return every candidate's fate, as a view of the disk."""
    return work.arrays(_FACTS).map("fates")
