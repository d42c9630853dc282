"""The last task of a slice: its shards of the corpus, as they will be there, its decisions, its share of the balance.

train/SOURCE/000003-00000.jsonl.zst        what slice 3 of the source gives, in the order in which it was read
decisions/SOURCE/000003.parquet            what became of each of its documents, and why
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa

from headwater.corpus.balance import Balance, KeptBy
from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.measures.boilerplate import REASON as BOILERPLATE
from headwater.corpus.read.sections import CutPoints
from headwater.corpus.shards import DECISIONS, ShardWriter, document_line, drop_line
from headwater.corpus.tasks.pages import SHORTENED_FILE
from headwater.corpus.tasks.passages import COPIED_PASSAGES
from headwater.corpus.tasks.texts import DROPPED, Texts
from headwater.corpus.tasks.work import SHORTENED, TEXTS, WRITE, Work
from headwater.corpus.tasks.worker_context import WorkerContext

_OF_TEXTS = ("id", "text_bytes")
_COLUMNS = ("id", "reason", "because", "duplicate_of", "side", "text_bytes")
_CUTS = {"copied": "copied_bytes", "cut": "cut_bytes"}  # in the order in which they are cut
_DECISIONS = pa.schema([(name, pa.int64() if name == "text_bytes" else pa.string()) for name in _COLUMNS])


def write(context: WorkerContext, number: int) -> None:
    """Do the task of a slice."""
    work, part = context.work, context.work.plan.parts[number]
    with work.new_output(work.path_of(WRITE, number)) as output:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    ShardWriter(output.folder / name / part.source, context.settings.shard_bytes, f"{part.index:06d}-")
                )
                for name in ("train", "validation", "dropped")
            }
            writer = _SliceWriter(part.source, writers)
            for line in work.lines(TEXTS, number, DROPPED):
                writers["dropped"].write(line)
            decisions, found = work.question(WRITE, number), [_DECISIONS.empty_table()]
            at = 0
            for table, documents in Texts(work, part, reads_all=True).batches():
                decided = decisions.slice(at, len(table))
                at += len(table)
                sizes = table.column("left_bytes").to_pylist()
                for document, left_bytes, decision in zip(documents, sizes, decided.to_pylist(), strict=True):
                    page = writer.short_page(work, number, decision)
                    writer.write(document, left_bytes, decision, page)
                columns = [(table if name in _OF_TEXTS else decided).column(name) for name in _DECISIONS.names]
                found.append(pa.table(columns, _DECISIONS))
        output.write_table(f"{DECISIONS}/{part.source}/{part.index:06d}.parquet", pa.concat_tables(found))
        for name in writers:
            output.add_digests(writers[name].digests)
        output.facts = {"balance": writer.balance.as_dict(), "kept_by": writer.kept_by.as_dict()}


class _SliceWriter:
    """Puts every document of a slice where it belongs."""

    def __init__(self, source: str, writers: dict[str, ShardWriter]) -> None:
        self.balance = Balance([source])
        self.kept_by = KeptBy()
        self._source = source
        self._writers = writers
        self._pages: Iterator[dict[str, Any]] | None = None

    def short_page(self, work: Work, number: int, decision: dict[str, Any]) -> dict[str, Any] | None:
        """Return what is left of a page without the lines that its site's pages share; None of another document."""
        if not decision["is_short"]:
            return None
        if self._pages is None:
            columns = ["record", "text", *_CUTS, *_CUTS.values()]
            self._pages = work.rows(work.path_of(SHORTENED, number), SHORTENED_FILE, columns)
        return next(page for page in self._pages if page["record"] == decision["record"])  # both are in order

    def write(self, document: Document, left_bytes: int, decision: dict[str, Any], page: dict[str, Any] | None) -> None:
        if reason := decision["reason"]:
            more = {"duplicate_of": decision["duplicate_of"] or "", "because": decision["because"]}
            self._drop(document.drop(reason, left_bytes, **more))
            return
        if language := decision.get("language"):
            document = replace(document, meta={**document.meta, "language": language})
        if page is not None:
            for reason, (cut, size) in zip((COPIED_PASSAGES, BOILERPLATE), _CUTS.items()):
                if page[cut]:
                    cut_bytes = min(page[size], left_bytes)
                    left_bytes -= cut_bytes
                    self._drop(document.drop(reason, cut_bytes, page[cut], num_documents=0))
            document = replace(document, text=page["text"])
        self.balance.keep_(self._source, 1, left_bytes)
        if decision["side"] == "both":
            start, end = _cut_tail(document, decision["tail_bytes"])
            self._place("train", start)
            self._place("validation", end, num_documents=0)
        else:
            self._place(decision["side"], document)

    def _drop(self, drop: Drop) -> None:
        self.balance.drop_(self._source, drop.reason, drop.num_documents, drop.num_bytes)
        self._writers["dropped"].write(drop_line(drop))

    def _place(self, side: str, document: Document, num_documents: int = 1) -> None:
        line, text_bytes = document_line(document), num_bytes(document.text)
        self._writers[side].write(line)
        self.balance.place_(self._source, side, text_bytes)
        self.kept_by.add_(self._source, document.meta, document.kind, text_bytes, num_documents)


def _cut_tail(document: Document, tail_bytes: int) -> tuple[Document, Document]:
    text = document.text
    tail = len(text) * tail_bytes // num_bytes(text)
    end = CutPoints(text).best(len(text) - tail * 3 // 2, len(text) - tail)
    start = replace(document, id=f"{document.id}/start", text=clean(text[:end], document.kind))
    rest = replace(document, id=f"{document.id}/end", text=clean(text[end:], document.kind))
    return start, rest
