"""Pages without the lines that their site's pages share, which are cut.

Forty pages of a site with a long notice are alike and no copies. And a copy of one of them is found by its own text
alone: by the whole each page is as near to any other. So near duplicates are looked for by the keys of pages' own text,
too; and what stays is shortened, and held to the rules of its kind again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, num_bytes
from headwater.corpus.measures.measure import measured, schema_of
from headwater.corpus.scripts import words_of
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.passages import without_words
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import OWN, SHORTENED
from headwater.corpus.tasks.worker_context import WorkerContext

OWN_FILE, SHORTENED_FILE = "own.parquet", "shortened.parquet"
_MIN_OWN_WORDS = 20
_PAGES_AT_ONCE = 256  # are measured, and written down
_MIN_SHARE = 0.1
_OWN = {"bands": pa.list_(pa.uint64()), "signature": pa.binary()}
_SHORTENED = {"text": pa.large_string(), "cut": pa.string(), "cut_bytes": pa.int64(), "bytes": pa.int64()}
_SHORTENED |= {"copied": pa.string(), "copied_bytes": pa.int64()}
_QUESTION = {"record": pa.int64(), "question": pa.uint64()}


def find_own_text(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write the bands of pages' own text, none of those that have too little of it."""
    known = _known(context, OWN, number, OWN_FILE)
    rows = []
    for record, question, cuts, document in _pages(context, OWN, number):
        row = known.get((record, question))
        if row is None:
            own = own_words(context, document(), set(cuts["keys"]))
            bands, signature = context.keys.minhash_of(own) if own is not None else ([], None)
            row = {"record": record, "question": question, "bands": bands, "signature": signature}
        rows.append(row)
    with context.work.new_output(context.work.path_of(OWN, number)) as output:
        output.facts = context.work.way_of(OWN)
        output.write_table(OWN_FILE, pa.Table.from_pylist(rows, pa.schema(_QUESTION | _OWN)))


def shorten_pages(context: WorkerContext, number: int) -> None:
    """Do the task of a slice: write what is left of documents without what is cut, and its statistics."""
    statistics, pages = context.statistics, _shortened(context, number)
    of_statistics = schema_of(statistics)
    schema = pa.schema(_QUESTION | _SHORTENED | dict(zip(of_statistics.names, of_statistics.types)))
    with context.work.new_output(context.work.path_of(SHORTENED, number)) as output:
        output.facts = context.work.way_of(SHORTENED)
        with output.table(SHORTENED_FILE, schema) as table:
            while some := list(islice(pages, _PAGES_AT_ONCE)):
                new = [(row, candidate) for row, candidate in some if candidate is not None]
                values = measured(statistics, [candidate for _, candidate in new]).to_pylist()
                for (row, _), of_page in zip(new, values, strict=True):
                    row |= of_page
                table.write_table(pa.Table.from_pylist([row for row, _ in some], schema))


def _shortened(context: WorkerContext, number: int) -> Iterator[tuple[dict[str, Any], Candidate | None]]:
    """Yield what is left of each document, and the candidate that is to be measured where that isn't known."""
    known = _known(context, SHORTENED, number, SHORTENED_FILE)
    for record, question, cuts, of_page in _pages(context, SHORTENED, number):
        row = known.get((record, question))
        if row is None:
            document = of_page()
            rest, copied = without_words(document.text, cuts["starts"], cuts["ends"])
            text, cut = rest, ""
            if context.boilerplate is not None and cuts["keys"]:
                text, cut = context.boilerplate.without(replace(document, text=rest), set(cuts["keys"]))
            shorter = replace(document, text=clean(text, document.kind))
            sizes = {"cut_bytes": num_bytes(rest) - num_bytes(text), "bytes": num_bytes(shorter.text)}
            sizes |= {"copied_bytes": num_bytes(document.text) - num_bytes(rest)}
            row = {"record": record, "question": question, "text": shorter.text, "cut": cut, "copied": copied, **sizes}
            yield row, Candidate(shorter, context.hasher)
        else:
            yield row, None


def _known(context: WorkerContext, stage: str, number: int, file: str) -> dict[tuple[int, int], dict[str, Any]]:
    """Return what is known of pages from which the same lines were cut under other limits."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for path in context.work.other_answers(stage, number):
        for row in context.work.table(path, file).to_pylist():
            found[row["record"], row["question"]] = row
    return found


def _pages(
    context: WorkerContext, stage: str, number: int
) -> Iterator[tuple[int, int, dict[str, list[int]], Callable[[], Document]]]:
    """Yield the documents that a stage is asked about: number, hash of what is to be cut, that, and the document."""
    texts = Texts(context.work, context.work.plan.parts[number], groups_at_hand=1)  # they are asked in their order
    for row in context.work.question(stage, number).to_pylist():
        record = row.pop("record")
        value = xxhash.xxh3_64_intdigest(repr(row).encode())
        yield record, value, row, partial(texts.document, record)


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
