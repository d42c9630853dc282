"""Near duplicates among the pairs that signatures leave unsure: those whose true similarity reaches the threshold.

A task compares the documents of one slice with earlier ones, wherever those are. A document is a duplicate when it is
similar to an earlier one that is kept; which are kept is known only afterwards, where a document has been compared
with one that itself may be a duplicate. So it is compared first with those that are in no pair as the later one:
they stay for certain, and one similar to it settles the matter.

Pages are compared without the lines that the pages of their site share, for those will be cut. Pages that are alike
only with them are copies where they differ in a word here and there: a family of versions has nearly all lines in
common, and loses none of them once it is one page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.corpus.scripts import words_of
from headwater.corpus.tasks.pages import min_own_words, own_words
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import RECORD_BITS, VERIFY, part_of, record_of
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.words import ngrams, similarity

PAIRS_FILE = "pairs.parquet"
PAIRS = pa.schema({"later": pa.uint64(), "earlier": pa.uint64()})
_CACHED_CHARACTERS = 12_800_000  # of the longest documents; their shingles take some three bytes for each
_OPEN_FILES = 64


def verify(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write the pairs, of its documents with earlier ones, that are similar enough."""
    comparison = _Comparison(context)
    pairs = context.work.question(VERIFY, number).to_pylist()
    found = list[dict[str, int]]()
    for record, rows in groupby(pairs, key=lambda row: int(row["record"])):
        later = (number << RECORD_BITS) + record
        found += [{"later": later, "earlier": each} for each in comparison.originals(later, list(rows))]
    with context.work.new_output(context.work.path_of(VERIFY, number)) as output:
        output.write_table(PAIRS_FILE, pa.Table.from_pylist(found, PAIRS))


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
        self._common_lines: dict[int, set[int]] = {}
        self._min_own = min_own_words(context)
        num_cached = max(2, _CACHED_CHARACTERS // context.settings.max_document_characters)
        self._shingles_of = lru_cache(num_cached)(self._read_shingles)
        work = context.work  # no method: files would stay open until a cycle is collected
        self._texts_of = lru_cache(_OPEN_FILES)(lambda part: Texts(work, work.plan.parts[part]))

    def originals(self, later: int, rows: list[dict[str, Any]]) -> list[int]:
        """Return one earlier document that is similar and stays for certain, or else all similar ones."""
        for row in rows:
            self._common_lines[row["earlier"]] = set(row["earlier_keys"])
            self._common_lines[later] = set(row["later_keys"])
        for row in rows:
            if not row["is_doubtful"] and self._is_similar(later, row["earlier"]):
                return [row["earlier"]]
        return [row["earlier"] for row in rows if row["is_doubtful"] and self._is_similar(later, row["earlier"])]

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
        document = self._texts_of(part_of(number)).document(record_of(number))
        in_order = ngrams(self._context.hasher.hash(words_of(document.text)), self._dedup.shingle_words)
        whole = np.unique(in_order)
        if keys := self._common_lines[number]:
            words = own_words(self._context, document, keys)
            if words is not None:
                in_order = ngrams(words, self._dedup.shingle_words)
                return _Shingles(whole, np.unique(in_order), in_order)
        return _Shingles(whole, whole, in_order)
