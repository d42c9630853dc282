"""The split of every source, made from the hashes and sizes of its documents; the texts are not needed."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from headwater.corpus.split import Split, SplitTally
from headwater.corpus.tasks.fates import KEPT, fates_of
from headwater.corpus.tasks.repeats import mark_shortened_
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Work

_FACTS = "splits"


def decide_splits(work: Work, segments: Segments) -> None:
    """Write the split of every source."""
    if work.has_facts(_FACTS):
        return
    is_kept = fates_of(work) == KEPT
    is_whole = is_kept.copy()
    mark_shortened_(is_whole, work, segments)
    splits, splits_of_whole = (_splits(work, segments, marks) for marks in (is_kept, is_whole))
    with work.new_facts(_FACTS) as output:
        output.facts = {source: asdict(_safer(splits[source], splits_of_whole[source])) for source in splits}


def _splits(work: Work, segments: Segments, marks: np.ndarray) -> dict[str, Split]:
    """Return the split that every source would have if its documents were those marked."""
    tallies = {source: SplitTally(work.plan.settings.validation_fraction) for source in work.plan.settings.sources}
    for segment in segments:
        file = segments.arrays(segment)
        chosen = np.flatnonzero(marks[segment.start : segment.end])
        hashes, sizes = (file.map(name)[chosen] for name in ("split_hashes", "text_bytes"))
        tallies[work.plan.parts[segment.part].source].add_(chosen + segment.start, hashes, sizes)
    return {source: tallies[source].split() for source in tallies}


def _safer(split: Split, split_of_whole: Split) -> Split:
    """Return a split that rests on no single document of which paragraphs are cut: too little of it may stay."""
    return split if split.hashes_below or split_of_whole == Split() else split_of_whole


def split_of(work: Work, source: str) -> Split:
    return Split(**work.facts(_FACTS)[source])
