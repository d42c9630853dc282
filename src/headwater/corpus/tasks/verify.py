"""Near duplicates among the pairs: those whose true similarity reaches the threshold.

A task compares the documents of one part with earlier ones, wherever those are. A document is a duplicate when it is
similar to an earlier one that is kept; which are kept is known only afterwards, where a document has been compared
with one that itself may be a duplicate. So it is compared first with those that are in no pair as the later one:
they stay for certain, and one similar to it settles the matter.

Pages are compared without the lines that the pages of their site share, for those will be cut. Pages that are alike
only with them are copies where they differ in a word here and there: a family of versions has nearly all lines in
common, and loses none of them once it is one page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, pairwise
from operator import not_

import numpy as np

from headwater.corpus.scripts import words_of
from headwater.corpus.shards import parse_document
from headwater.corpus.tasks.near import PAIRS, pairs_of
from headwater.corpus.tasks.pages import common_lines_of, min_own_words, own_words
from headwater.corpus.tasks.repeats import COMMON_LINES
from headwater.corpus.tasks.results import found_flags, table_of
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.words import ngrams, similarity

# pages of one site may share most of their words with hundreds of others and be no duplicates; those that share the
# most bands are compared, since a true duplicate shares more than others
MAX_COMPARED = 32

_CACHED_CHARACTERS = 12_800_000  # of the longest documents; their shingles take some three bytes for each


def verify(context: WorkerContext, number: int) -> None:
    """Do the task of a part: write the pairs, of its documents with earlier ones, that are similar enough."""
    comparison = _Comparison(context)
    found: list[tuple[int, int]] = []
    for segment in context.segments.of_part(number):
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


@dataclass(frozen=True, slots=True)
class _Shingles:
    """A document's shingles, sorted; those of its own text, which may be all, sorted and in their order."""

    whole: np.ndarray
    own: np.ndarray
    in_order: np.ndarray


class _Comparison:
    """Compares documents by number; the shingles used last are kept at hand."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._dedup = context.settings.dedup
        self._doubtful = found_flags(context.work, "near")
        self._has_common_lines = found_flags(context.work, COMMON_LINES.stage)
        self._min_own = min_own_words(context)
        num_cached = max(2, _CACHED_CHARACTERS // context.settings.max_document_characters)
        self._shingles_of = lru_cache(num_cached)(self._read_shingles)

    def originals(self, later: int, earlier: list[int]) -> list[int]:
        """Return one of `earlier` that is similar and stays for certain, or else all similar ones."""
        is_doubtful = self._doubtful.of(np.array(earlier, dtype=np.uint64)).tolist()
        for number in compress(earlier, map(not_, is_doubtful)):
            if self._is_similar(later, number):
                return [number]
        return [number for number in compress(earlier, is_doubtful) if self._is_similar(later, number)]

    def _is_similar(self, later: int, earlier: int) -> bool:
        first, second = self._shingles_of(later), self._shingles_of(earlier)
        least = self._dedup.min_similarity
        if similarity(first.own, second.own) >= least:
            return True
        if first.own is first.whole and second.own is second.whole:
            return False
        if self._has_passages(first, second) or self._has_passages(second, first):
            return False
        return similarity(first.whole, second.whole) >= least

    def _has_passages(self, page: _Shingles, other: _Shingles) -> bool:
        """Return whether passages of a page's own text that another lacks are enough for a page.

        One word that differs makes `shingle_words` new shingles in a row: no more than two such are a passage.
        """
        at = np.minimum(np.searchsorted(other.whole, page.in_order), len(other.whole) - 1)
        is_new = other.whole[at] != page.in_order
        starts, ends = np.flatnonzero(np.diff(is_new, prepend=False, append=False)).reshape(-1, 2).T
        lengths = ends - starts
        return int(lengths[lengths > 2 * self._dedup.shingle_words].sum()) >= self._min_own

    def _read_shingles(self, number: int) -> _Shingles:
        document = parse_document(self._context.candidate_texts.line(number))
        in_order = ngrams(self._context.hasher.hash(words_of(document.text)), self._dedup.shingle_words)
        whole = np.unique(in_order)
        if self._has_common_lines.of(np.array([number], dtype=np.uint64))[0]:
            words = own_words(self._context, document, common_lines_of(self._context, number))
            if words is not None:
                in_order = ngrams(words, self._dedup.shingle_words)
                return _Shingles(whole, np.unique(in_order), in_order)
        return _Shingles(whole, whole, in_order)
