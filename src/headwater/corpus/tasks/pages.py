"""Pages without the lines that their site's pages share, which are cut.

Forty pages of a site with a long notice are alike and no copies. And a copy of one of them is found by its own text
alone: by the whole each page is as near to any other. So near duplicates are looked for by the keys of pages' own text,
too; and what stays is shortened, and held to the rules of its kind again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, num_bytes
from headwater.corpus.measures.measure import measured, schema_of
from headwater.corpus.scripts import words_of
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import OWN, SHORTENED
from headwater.corpus.tasks.worker_context import WorkerContext

OWN_FILE, SHORTENED_FILE, STATISTICS_FILE = "own.parquet", "shortened.parquet", "statistics.parquet"
_MIN_OWN_WORDS = 20
_MIN_SHARE = 0.1
_OWN = pa.schema({"record": pa.int64(), "bands": pa.list_(pa.uint64()), "signature": pa.binary()})
_SHORTENED = pa.schema(
    {"record": pa.int64(), "text": pa.large_string(), "cut": pa.string(), "cut_bytes": pa.int64(), "bytes": pa.int64()}
)


def find_own_text(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write the bands of pages' own text, of those that have enough of it."""
    rows = []
    for record, document, keys in _pages(context, OWN, number):
        own = own_words(context, document, keys)
        if own is not None:
            bands, signature = context.keys.minhash_of(own)
            rows.append({"record": record, "bands": bands, "signature": signature})
    with context.work.new_output(context.work.path_of(OWN, number)) as output:
        output.write_table(OWN_FILE, pa.Table.from_pylist(rows, _OWN))


def shorten_pages(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write what is left of pages without their common lines, and its statistics."""
    rows, candidates = list[dict[str, Any]](), list[Candidate]()
    assert context.boilerplate is not None
    for record, document, keys in _pages(context, SHORTENED, number):
        text, cut = context.boilerplate.without(document, keys)
        shorter = replace(document, text=clean(text, document.kind))
        sizes = {"cut_bytes": num_bytes(document.text) - num_bytes(text), "bytes": num_bytes(shorter.text)}
        rows.append({"record": record, "text": shorter.text, "cut": cut, **sizes})
        candidates.append(Candidate(shorter, context.hasher))
    with context.work.new_output(context.work.path_of(SHORTENED, number)) as output:
        output.write_table(SHORTENED_FILE, pa.Table.from_pylist(rows, _SHORTENED))
        statistics = context.statistics
        batches = [measured(statistics, candidates)] if candidates else []
        output.write_table(STATISTICS_FILE, pa.Table.from_batches(batches, schema_of(statistics)))


def _pages(context: WorkerContext, stage: str, number: int) -> Iterator[tuple[int, Document, set[int]]]:
    """Yield the pages that a stage is asked about, each with the keys of its common lines."""
    texts = Texts(context.work, context.work.plan.parts[number])
    asked = context.work.asked(stage, number)
    for record, keys in zip(asked.column("record").to_pylist(), asked.column("keys").to_pylist()):
        yield record, texts.document(record), set(keys)


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
