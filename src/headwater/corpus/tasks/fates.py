"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept. Then the split is made of
those that stay.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from headwater.corpus.split import Split, SplitTally
from headwater.corpus.tasks.exact import copy_marks
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Work

KEPT, EXACT_DUPLICATE, NEAR_DUPLICATE = 0, 1, 2
REASONS = {EXACT_DUPLICATE: "exact_duplicate", NEAR_DUPLICATE: "near_duplicate"}
_FACTS = "fates"


def decide_fates(work: Work, segments: Segments, verified_parts: list[int]) -> None:
    """Write every candidate's fate, a byte each, and the split of every source."""
    if work.has_facts(_FACTS):
        return
    fates = np.array(copy_marks(work))
    for part in verified_parts:
        file = work.arrays_of("verify", part)
        for later, earlier in zip(file.map("later").tolist(), file.map("earlier").tolist()):
            if fates[later] == KEPT and fates[earlier] == KEPT:
                fates[later] = NEAR_DUPLICATE
    splits = {source: asdict(_split_of(source, work, segments, fates)) for source in work.plan.settings.sources}
    with work.new_facts(_FACTS) as output:
        output.facts = {"splits": splits}
        output.write_arrays({"fates": fates})


def _split_of(source: str, work: Work, segments: Segments, fates: np.ndarray) -> Split:
    tally = SplitTally(work.plan.settings.validation_fraction)
    for part in work.plan.parts:
        for _, segment in segments.of_part(part.number) if part.source == source else []:
            file = segments.arrays(segment)
            kept = np.flatnonzero(fates[segment.start : segment.end] == KEPT)
            tally.add_(kept + segment.start, file.map("split_hashes")[kept], file.map("text_bytes")[kept])
    return tally.split()


def fates_of(work: Work) -> np.ndarray:
    """Return every candidate's fate, as a view of the disk."""
    return work.arrays(_FACTS).map("fates")


def split_of(work: Work, source: str) -> Split:
    return Split(**work.facts(_FACTS)["splits"][source])
