"""The split of every source, made from the hashes and sizes of its documents; the texts are not needed."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.corpus.split import NEVER_HELD_OUT, Split, SplitTally
from headwater.corpus.tasks.arrays import ArrayFile
from headwater.corpus.tasks.decisions import KEPT, decisions_of
from headwater.corpus.tasks.results import found_flags
from headwater.corpus.tasks.segments import PASSAGES, Flags, Segment, Segments
from headwater.corpus.tasks.work import Task, Work

_FACTS = "splits"


def decide_splits(work: Work, segments: Segments) -> None:
    """Write the split of every source."""
    if work.is_done(Task(_FACTS)):
        return
    splits, splits_of_whole = _splits(work, segments)
    with work.new_output(Task(_FACTS)) as output:
        output.facts = {source: asdict(_safer(splits[source], splits_of_whole[source])) for source in splits}


def _splits(work: Work, segments: Segments) -> list[dict[str, Split]]:
    """Return the split that every source would have if its documents were those kept, and those kept whole."""
    decisions, shortened, shared = decisions_of(work), found_flags(work, "repeats"), found_flags(work, PASSAGES)
    fraction, sources = work.plan.settings.validation_fraction, list(work.plan.settings.sources)
    whole = {name for name, source in work.plan.settings.sources.items() if source.kind == CONVERSATIONS}
    tallies = [{source: SplitTally(fraction, source in whole) for source in sources} for _ in range(2)]
    for segment in segments:
        file, source = segments.arrays(segment), work.plan.parts[segment.part].source
        all_hashes, all_sizes = split_hashes(file, segment, shared), file.map("text_bytes")
        is_kept = decisions.between(segment.start, segment.end) == KEPT
        is_whole = is_kept & (shortened.between(segment.start, segment.end) == 0)
        for flags, tally in zip((is_kept, is_whole), tallies):
            chosen = np.flatnonzero(flags)
            tally[source].add_(chosen + segment.start, all_hashes[chosen], all_sizes[chosen])
    return [{source: each[source].split() for source in each} for each in tallies]


def _safer(split: Split, split_of_whole: Split) -> Split:
    """Return a split that doesn't rest on few documents of which paragraphs are cut: too little of them may stay."""
    is_safe = split.hashes_below and not split.is_last_resort
    return split if is_safe or split_of_whole == Split() else split_of_whole


def split_hashes(file: ArrayFile, segment: Segment, shared: Flags) -> np.ndarray:
    """Return the hashes that decide about a segment's documents: those that share passages are never held out."""
    is_shared = shared.between(segment.start, segment.end) != 0
    return np.where(is_shared, np.uint64(NEVER_HELD_OUT), file.map("split_hashes"))


def sources_of_shared_text(work: Work) -> list[str]:
    """Return the sources of which the end of a document is held out that has a passage in common with another."""
    return [name for name in work.plan.settings.sources if split_of(work, name).is_shared]


def split_of(work: Work, source: str) -> Split:
    return Split(**work.facts_of(_FACTS)[source])
