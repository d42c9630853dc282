"""The first task of a slice: read its files, put each document through the steps that change it, write down its text.

texts.parquet      a row a document, in the order in which it was read
dropped/           what reading and these steps dropped, or cut out
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.core.errors import DataError
from headwater.corpus.balance import Balance
from headwater.corpus.contents import Content, content_of, identity_of
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.findings import Notes
from headwater.corpus.personal.replace import redact
from headwater.corpus.pipeline import apply_steps
from headwater.corpus.read.source import Piece, read_files, read_source
from headwater.corpus.shards import ShardWriter, drop_line
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.lines import numbered_files
from headwater.corpus.tasks.plan import Part
from headwater.corpus.tasks.work import TEXTS, TEXTS_FILE, Work, damaged
from headwater.corpus.tasks.worker_context import WorkerContext

DROPPED = "dropped"
_ROW_GROUP_BYTES = 1 << 20  # of text: one document of it is read in some milliseconds
_GROUPS_AT_HAND = 32
_META = json.JSONEncoder(ensure_ascii=False)
_OF_DOCUMENT = ("text", "id", "origin", "kind", "meta")
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "origin": pa.string(),
        "kind": pa.string(),
        "meta": pa.string(),
        "licence": pa.string(),
        "read_bytes": pa.int64(),  # as read, of which `left_bytes` weren't cut out
        "left_bytes": pa.int64(),
        "text_bytes": pa.int64(),
        "text": pa.large_string(),
    }
)


def read_texts(context: WorkerContext, number: int, measure: Callable[[list[Candidate]], None]) -> None:
    """Do the task of a slice. `measure` gets the documents of each row group while they are at hand."""
    work = context.work
    part = work.plan.parts[number]
    contents = list[Content]()
    if part.at < 0:
        pieces = read_source(part.source, context.settings)
    else:
        contents = _contents(work, part)
        pieces = read_files(numbered_files(work, part), part.source, context.settings)
    with work.new_output(work.path_of(TEXTS, number)) as output:
        with (
            output.table(TEXTS_FILE, _SCHEMA) as table,
            ShardWriter(output.folder / DROPPED, context.settings.shard_bytes) as dropped,
        ):
            reading = _Reading(context, part.source, table, dropped, measure)
            for piece in pieces:
                reading.take(piece)
            reading.end()
        output.add_digests(dropped.digests)
        output.facts = {"balance": reading.balance.as_dict(), "notes": reading.notes.as_dict()}
        output.facts["contents"] = contents
        if work.documents_file != TEXTS_FILE:
            names = [name for name in _SCHEMA.names if name != "text"]
            output.write_table(work.documents_file, pq.read_table(output.folder / TEXTS_FILE, columns=names))
        _require_unchanged(work, part)


def _contents(work: Work, part: Part) -> list[Content]:
    """Return the digest of each file that is read, taken here: whoever asks for it must not wait for one process."""
    listed = zip(work.plan.files(part), work.plan.identities(part), strict=True)
    return [
        Content(part.source, file.origin, identity, content_of(file.path, file.origin))
        for file, identity in listed
        if not file.skipped and not file.start
    ]


def _require_unchanged(work: Work, part: Part) -> None:
    """Raise DataError where a file isn't what it was when the plan was made: its text would have another's key."""
    if part.at < 0:
        return
    for file, identity in zip(work.plan.files(part), work.plan.identities(part), strict=True):
        if not file.skipped and identity_of(file.path, file.origin) != identity:
            raise DataError(
                f"{file.origin} changed while the corpus was built; give the same command again when it is complete"
            )


class _Reading:
    """Takes the pieces of a slice one after another."""

    def __init__(
        self,
        context: WorkerContext,
        source: str,
        table: pq.ParquetWriter,
        dropped: ShardWriter,
        measure: Callable[[list[Candidate]], None],
    ) -> None:
        self.balance = Balance([source])
        self.notes = Notes()
        self._context, self._source, self._table, self._dropped = context, source, table, dropped
        self._measure = measure
        self._waiting: list[Candidate] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        self._num_bytes = 0
        redacting = context.settings.redact
        self._redacted = () if redacting is None else tuple(redacting.kinds)

    def take(self, piece: Piece) -> None:
        if isinstance(piece, Drop):
            self.balance.read_(self._source, piece.num_documents, piece.num_bytes)
            self._drop(piece)
            return
        raw_bytes = num_bytes(piece.text)
        self.balance.read_(self._source, 1, raw_bytes)
        self._context.on_read(raw_bytes)
        verdict = apply_steps(self._context.steps, Candidate(piece, self._context.hasher))
        document = verdict.candidate.document
        if verdict.reason is not None:
            self.notes.add_(verdict.reason, verdict.note)
            self._drop(document.drop(verdict.reason, raw_bytes, verdict.excerpt or None, because=verdict.because))
            return
        left_bytes = raw_bytes
        for cut in verdict.cuts:
            # cleaning may have made the text longer in bytes than it was read
            cut_bytes = min(cut.num_bytes, left_bytes)
            left_bytes -= cut_bytes
            self.notes.add_(cut.reason, cut.note)
            self._drop(document.drop(cut.reason, cut_bytes, cut.excerpt, num_documents=0, because=cut.because))
        self._add(verdict.candidate, raw_bytes, left_bytes)

    def _add(self, candidate: Candidate, read_bytes: int, left_bytes: int) -> None:
        document = candidate.document
        text_bytes, meta = num_bytes(document.text), _META.encode(document.meta) if document.meta else "{}"
        of_document = (document.id, document.origin, document.kind, meta, document.meta.get("licence"))
        values = (*of_document, read_bytes, left_bytes, text_bytes, document.text)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        self._waiting.append(candidate)
        self._num_bytes += text_bytes + len(meta)
        if self._num_bytes >= _ROW_GROUP_BYTES:
            self.end()

    def end(self) -> None:
        """Write down the documents that wait, and measure them."""
        if self._waiting:
            self._table.write_table(pa.table(self._columns, _SCHEMA))
            self._measure(self._waiting)
            self._waiting, self._num_bytes = [], 0
            for column in self._columns.values():
                column.clear()

    def _drop(self, drop: Drop) -> None:
        self.balance.drop_(self._source, drop.reason, drop.num_documents, drop.num_bytes)
        if self._redacted:  # what is dropped before that step must not be kept with what it would have replaced
            drop = replace(drop, excerpt=redact(drop.excerpt, self._redacted)[0])
        self._dropped.write(drop_line(drop))


class Texts:
    """The texts of a slice, in their order or by number; a row group is read at a time."""

    def __init__(
        self, work: Work, part: Part, *, reads_all: bool = False, groups_at_hand: int = _GROUPS_AT_HAND
    ) -> None:
        folder, self._source = work.path_of(TEXTS, part.number), part.source
        self._path, open_file = folder / TEXTS_FILE, work.place.open_whole if reads_all else work.place.open
        try:
            given = open_file(folder, TEXTS_FILE)
            how = {"memory_map": True} if isinstance(given, Path) else {"pre_buffer": True}  # a request a row group
            self._file = pq.ParquetFile(given, page_checksum_verification=True, **how)
        except (OSError, pa.ArrowInvalid) as error:
            raise damaged(self._path, error) from error
        counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = list(accumulate(counts, initial=0))
        # no method: files would stay open until a cycle is collected
        file, path = self._file, self._path
        self._read_table = lru_cache(groups_at_hand)(lambda group: _read_group(file, group, path))

    def __len__(self) -> int:
        return self._starts[-1]

    def batches(self) -> Iterator[tuple[pa.Table, list[Document]]]:
        """Yield the rows of each row group, and the documents in them."""
        for group in range(len(self._starts) - 1):
            table = _read_group(self._file, group, self._path)
            columns = [table.column(name).to_pylist() for name in _OF_DOCUMENT]
            yield table, [self._document(*values) for values in zip(*columns)]

    def document(self, record: int) -> Document:
        """Return a document by its number; those of groups that were just read cost little."""
        group = bisect_right(self._starts, record) - 1
        table, at = self._read_table(group), record - self._starts[group]
        return self._document(*(table.column(name)[at].as_py() for name in _OF_DOCUMENT))

    def _document(self, text: str, name: str, origin: str, kind: str, meta: str) -> Document:
        return Document(text, self._source, name, origin, kind, dict(_meta_of(meta)))


def _read_group(file: pq.ParquetFile, group: int, path: Path) -> pa.Table:
    try:
        return file.read_row_group(group)
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error


@lru_cache(1000)  # many have the same
def _meta_of(text: str) -> dict[str, str]:
    return dict(json.loads(text))
