"""Pages without the lines that their site's pages share: near duplicates are looked for among these, too.

Forty pages of a site with a long notice are alike and no copies. And a copy of one of them is found by its own text
alone: by the whole each page is as near to any other. The task of a part writes, beside the keys of its pages' own
text, the keys of the lines that this is without, where whoever compares pages finds them (tasks.verify).
"""

from __future__ import annotations

import numpy as np

from headwater.corpus.document import Document
from headwater.corpus.scripts import words_of
from headwater.corpus.shards import parse_document
from headwater.corpus.tasks.repeats import COMMON_LINES, CUTS, cuts_by_document
from headwater.corpus.tasks.results import Results, ResultWriter
from headwater.corpus.tasks.segments import segment_file
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext

PAGES = "pages"
_PAGE_KEYS = np.dtype([("key", "<u8"), ("document", "<u8"), ("band", "<u2")])
_MIN_OWN_WORDS = 20
_MIN_SHARE = 0.1


def min_own_words(context: WorkerContext) -> int:
    return max(_MIN_OWN_WORDS, context.settings.rules.web.min_words or 0)


def own_words(context: WorkerContext, document: Document, keys: set[int]) -> np.ndarray | None:
    """Return the hashes of a page's words without its common lines, which have these keys.

    None where these lines are too little of the page to make it like others, or the rest would be dropped as few_words.
    """
    assert context.boilerplate is not None  # such lines were found
    if context.boilerplate.share(document, keys) < _MIN_SHARE:
        return None
    own = context.hasher.hash(words_of(context.boilerplate.without(document, keys)[0]))
    return own if len(own) >= min_own_words(context) else None


def common_lines_of(context: WorkerContext, number: int) -> set[int]:
    """Return the keys of a page's common lines; the search for them found some."""
    segment = context.segments.of_document(number)
    file = context.work.arrays_of(PAGES, segment.part, segment_file(segment.index))
    return set(file.between("cuts", number, number + 1)["key"].tolist())


def page_keys(found: Results, band: int, low: int, high: int) -> np.ndarray:
    """Return the keys of pages' own text in a band, from `low` to `high` (not included), and the pages' numbers."""
    rows = np.concatenate([np.empty(0, _PAGE_KEYS), *(rows[rows["band"] == band] for rows in found.pieces(low, high))])
    return np.stack([rows["key"], rows["document"]])


def write_page_keys(context: WorkerContext, part: int) -> None:
    """Do the task of a part."""
    with context.work.new_output(Task(PAGES, part)) as output:
        writer = ResultWriter(output, _PAGE_KEYS)
        for segment in context.segments.of_part(part):
            pieces = list(context.results(COMMON_LINES.stage).pieces(segment.start, segment.end))
            rows = np.concatenate([np.empty(0, CUTS), *pieces])
            output.write_arrays({"cuts": rows[np.argsort(rows["document"])]}, segment_file(segment.index))
            for number, cuts in sorted(cuts_by_document(pieces).items()):
                own = own_words(context, parse_document(context.candidate_texts.line(number)), cuts)
                if own is not None:
                    keys = np.array(context.minhash.band_keys(own), dtype=np.uint64)
                    writer.add(keys, np.full(len(keys), number), np.arange(len(keys)))
        writer.close()
