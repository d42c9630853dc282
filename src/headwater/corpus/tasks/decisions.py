"""What becomes of every candidate, decided in one pass over what the tasks found; the texts are not needed.

A candidate is dropped when it is an exact copy, or similar to an earlier one that is kept.
"""

from __future__ import annotations

import numpy as np

from headwater.corpus.tasks.arrays import together
from headwater.corpus.tasks.exact import copy_flags, firsts_of_copies
from headwater.corpus.tasks.segments import Flags, Segment, Segments, flag_ranges, write_flags
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext

KEPT, EXACT_DUPLICATE, NEAR_DUPLICATE = 0, 1, 2
REASONS = {EXACT_DUPLICATE: "exact_duplicate", NEAR_DUPLICATE: "near_duplicate"}
_FACTS = "decisions"
_PAIRS_AT_ONCE = 1 << 17  # decided together, since pairs of a few parts each may need every file of flags


def write_decisions(work: Work, segments: Segments, verified_parts: list[int]) -> None:
    """Write every candidate's decision."""
    if work.is_done(Task(_FACTS)):
        return
    copies = copy_flags(work)
    parts = np.array(verified_parts, dtype=np.int64)
    bounds = segments.part_bounds
    with work.new_output(Task(_FACTS)) as output:
        decided = Flags(output.folder)
        for start, end in flag_ranges(segments.num_documents):
            decisions = bytearray(copies.between(start, end))
            first = int(np.searchsorted(bounds[parts + 1], start, side="right"))
            last = int(np.searchsorted(bounds[parts], end))
            tables = (_verified(work, part, start, end) for part in parts[first:last].tolist())
            pieces = (
                pairs[at : at + _PAIRS_AT_ONCE] for pairs in tables for at in range(0, len(pairs), _PAIRS_AT_ONCE)
            )
            for pairs in together(pieces, lambda: _PAIRS_AT_ONCE):
                _drop_near_(decisions, start, pairs, decided)
            write_flags(output, start, np.frombuffer(decisions, dtype=np.uint8))


def _drop_near_(decisions: bytearray, start: int, pairs: np.ndarray, decided: Flags) -> None:
    """Note which documents are near duplicates, in the decisions of those from `start` on: pairs are in their order."""
    later, earlier = pairs["document"] - np.uint64(start), pairs["earlier"]
    is_decided = earlier < start
    kept_before = later[is_decided][decided.of(earlier[is_decided]) == KEPT]
    of_before = np.frombuffer(decisions, dtype=np.uint8)
    of_before[kept_before[of_before[kept_before] == KEPT]] = NEAR_DUPLICATE
    for one, other in zip(later[~is_decided].tolist(), (earlier[~is_decided] - np.uint64(start)).tolist()):
        if decisions[one] == KEPT and decisions[other] == KEPT:
            decisions[one] = NEAR_DUPLICATE


def _verified(work: Work, part: int, start: int, end: int) -> np.ndarray:
    """Return the pairs of a part whose later document is in [start, end), sorted by it."""
    return work.arrays_of("verify", part).between("pairs", start, end)


def originals_of(context: WorkerContext, segment: Segment, decisions: Flags) -> dict[int, int]:
    """Return the earlier document that each dropped document of a segment is a duplicate of, by their numbers."""
    start, end = segment.start, segment.end
    own, found = decisions.between(start, end), dict[int, int]()
    if (own == EXACT_DUPLICATE).any():
        found = firsts_of_copies(context.results("exact"), start, end)
    if (own == NEAR_DUPLICATE).any():
        pairs = _verified(context.work, segment.part, start, end)
        is_original = decisions.of(pairs["earlier"]) == KEPT
        is_original &= own[pairs["document"] - np.uint64(start)] == NEAR_DUPLICATE
        for later, earlier in pairs[is_original].tolist():
            found.setdefault(later, earlier)
    return found


def decisions_of(work: Work) -> Flags:
    """Return every candidate's decision."""
    return Flags(work.path_of(_FACTS))
