"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headwater.corpus.tasks.exact import copy_marks, firsts_of_copies, num_exact_tasks
from headwater.corpus.tasks.segments import Segments
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


def _verified(work: Work, part: int) -> Iterator[tuple[int, int]]:
    file = work.arrays_of("verify", part)
    return zip(file.map("later").tolist(), file.map("earlier").tolist())


def originals_of(work: Work, segments: Segments, part: int, fates: np.ndarray) -> dict[int, int]:
    """Return the earlier document that each dropped document of a part is a duplicate of, by their numbers."""
    own = segments.of_part(part)
    if not own:
        return {}
    start, end = own[0][1].start, own[-1][1].end
    found = dict[int, int]()
    if (fates[start:end] == EXACT_DUPLICATE).any():
        found = firsts_of_copies(work, num_exact_tasks(segments), start, end)
    if (fates[start:end] == NEAR_DUPLICATE).any():
        for later, earlier in _verified(work, part):
            if fates[later] == NEAR_DUPLICATE and fates[earlier] == KEPT:
                found.setdefault(later, earlier)
    return found


def fates_of(work: Work) -> np.ndarray:
    """Return every candidate's fate, as a view of the disk."""
    return work.arrays(_FACTS).map("fates")
