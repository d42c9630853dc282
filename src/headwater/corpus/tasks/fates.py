"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept.
"""

from __future__ import annotations

import numpy as np

from headwater.corpus.tasks.exact import copy_marks
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
        file = work.arrays_of("verify", part)
        for later, earlier in zip(file.map("later").tolist(), file.map("earlier").tolist()):
            if fates[later] == KEPT and fates[earlier] == KEPT:
                fates[later] = NEAR_DUPLICATE
    with work.new_facts(_FACTS) as output:
        output.write_arrays({"fates": fates})


def fates_of(work: Work) -> np.ndarray:
    """Return every candidate's fate, as a view of the disk."""
    return work.arrays(_FACTS).map("fates")
