"""Near duplicates among the pairs: those whose true similarity reaches the threshold.

A task compares the documents of one part with earlier ones, wherever those are. A document is a duplicate when it is
similar to an earlier one that is kept; which are kept is known only afterwards, where a document has been compared
with one that itself may be a duplicate. So it is compared first with those that are in no pair as the later one:
they stay for certain, and one similar to it settles the matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import compress, pairwise
from operator import not_

import numpy as np

from headwater.corpus.minhash import similarity
from headwater.corpus.scripts import words_of
from headwater.corpus.shards import parse_document
from headwater.corpus.tasks.flags import Flags, flag_ranges, write_flags
from headwater.corpus.tasks.near import PAIRS, pairs_of
from headwater.corpus.tasks.results import Results, table_of
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.words import ngrams

# pages of one site may share most of their words with hundreds of others and be no duplicates; those that share the
# most bands are compared, since a true duplicate shares more than others
MAX_COMPARED = 32

_CACHED_SHINGLES = 2_000_000  # 16 MB
_FACTS = "doubtful"


def mark_doubtful(work: Work, segments: Segments) -> None:
    """Write which candidates may be near duplicates of an earlier one, for the tasks of this stage."""
    if work.has_facts(_FACTS):
        return
    found = Results(work, "near")
    with work.new_facts(_FACTS) as output:
        for start, end in flag_ranges(segments.num_documents):
            write_flags(output, start, found.flags(start, end))


def parts_to_verify(work: Work, segments: Segments) -> list[int]:
    """Return the parts with a document that may be a near duplicate."""
    flags = Flags(work.facts_folder(_FACTS))
    starts = np.append(segments.part_starts, segments.num_documents).tolist()
    return [part for part, (start, end) in enumerate(pairwise(starts)) if flags.between(start, end).any()]


def verify(context: WorkerContext, number: int) -> None:
    """Do the task of a part: write the pairs, of its documents with earlier ones, that are similar enough."""
    comparison = _Comparison(context)
    found: list[tuple[int, int]] = []
    for _, segment in context.segments.of_part(number):
        for later, earlier in _by_later(*pairs_of(context.results("near"), segment.start, segment.end)):
            found += [(later, each) for each in comparison.originals(later, earlier)]
    pairs = np.array(found, dtype=np.uint64).reshape(-1, 2)
    with context.work.new_output(Task("verify", number)) as output:
        output.write_arrays({"pairs": table_of(PAIRS, pairs[:, 0], pairs[:, 1])})


def _by_later(later: np.ndarray, earlier: np.ndarray, num_shared: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Yield each document with those it is compared with, in order."""
    bounds = np.flatnonzero(np.diff(later, prepend=np.uint64(2**64 - 1), append=np.uint64(2**64 - 1)))
    for start, end in pairwise(bounds):
        likely = np.lexsort((earlier[start:end], -num_shared[start:end]))[:MAX_COMPARED]
        yield int(later[start]), sorted(earlier[start:end][likely].tolist())


class _Comparison:
    """Compares documents by number; the shingles used last are kept at hand."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._dedup = context.settings.dedup
        self._doubtful = Flags(context.work.facts_folder(_FACTS))
        self._shingles: OrderedDict[int, np.ndarray] = OrderedDict()
        self._num_shingles = 0

    def originals(self, later: int, earlier: list[int]) -> list[int]:
        """Return one of `earlier` that is similar and stays for certain, or else all similar ones."""
        is_doubtful = self._doubtful.of(np.array(earlier, dtype=np.uint64)).tolist()
        for number in compress(earlier, map(not_, is_doubtful)):
            if self._is_similar(later, number):
                return [number]
        return [number for number in compress(earlier, is_doubtful) if self._is_similar(later, number)]

    def _is_similar(self, later: int, earlier: int) -> bool:
        first, second = self._shingles_of(later), self._shingles_of(earlier)
        return similarity(first, second) >= self._dedup.min_similarity

    def _shingles_of(self, number: int) -> np.ndarray:
        if number in self._shingles:
            self._shingles.move_to_end(number)
            return self._shingles[number]
        text = parse_document(self._context.candidate_texts.line(number)).text
        shingles = np.unique(ngrams(self._context.hasher.hash(words_of(text)), self._dedup.shingle_words))
        self._shingles[number] = shingles
        self._num_shingles += len(shingles)
        while self._num_shingles > _CACHED_SHINGLES and len(self._shingles) > 2:
            self._num_shingles -= len(self._shingles.popitem(last=False)[1])
        return shingles
