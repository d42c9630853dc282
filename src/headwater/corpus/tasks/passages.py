"""Passages of `passage_words` words, some of which came before: those that are found by a key that is there twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.corpus.measures.passages import hashes_of_words, noted_keys
from headwater.corpus.scripts import word_spans
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import COPIED, RECORD_BITS
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.words import runs_of

PASSAGES_FILE, COPIED_PASSAGES = "passages.parquet", "copied_passages"
_PASSAGES = pa.schema({"number": pa.uint64(), "word": pa.int64(), "passage": pa.uint64()})


def find_passages(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write at which word each passage in question begins, and its hash."""
    work, least = context.work, context.settings.dedup.passage_words
    assert least is not None
    texts = Texts(work, work.plan.parts[number])
    with work.new_output(work.path_of(COPIED, number)) as output, output.table(PASSAGES_FILE, _PASSAGES) as table:
        for row in work.question(COPIED, number).to_pylist():
            hashes = hashes_of_words(texts.document(row["record"]).text, context.hasher)
            lowest = noted_keys(hashes, least)[1]
            words = np.flatnonzero(np.isin(lowest, np.array(row["keys"], np.uint64)))
            of_document = np.full(len(words), (number << RECORD_BITS) + row["record"], np.uint64)
            table.write_table(pa.table([of_document, words, runs_of(hashes, least)[words]], _PASSAGES))


def without_words(text: str, starts: list[int], ends: list[int]) -> tuple[str, str]:
    """Return a text without some of its words, and these; they are given by the first of each stretch, and its end."""
    if not starts:
        return text, ""
    spans = word_spans(text)
    is_cut = np.zeros(len(spans) + 1, dtype=np.int8)
    for start, end in zip(starts, ends):
        is_cut[start:end] = 1
    edges = np.flatnonzero(np.diff(is_cut, prepend=0)).tolist()
    cuts = [(spans[first][0], spans[end - 1][1]) for first, end in zip(edges[::2], edges[1::2])]
    kept = [text[end:start].rstrip(" ") for (_, end), (start, _) in zip([(0, 0), *cuts], cuts)] + [text[cuts[-1][1] :]]
    return "".join(kept), "\n".join(text[start:end] for start, end in cuts)
