"""The first task of a part: read its files, put every document through the steps, write down what may be kept.

Beside the candidates' texts it writes what decides about them without their texts: keys of duplicates, sizes, and the
hash that the split goes by.
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
import xxhash

from headwater.corpus.balance import Balance
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.findings import Notes
from headwater.corpus.personal.replace import redact
from headwater.corpus.pipeline import apply_steps
from headwater.corpus.read.sections import sections
from headwater.corpus.read.source import Piece, read_files, read_source
from headwater.corpus.shards import ShardWriter, document_line, drop_line
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.corpus.split import split_hash
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.candidates import CandidateWriter
from headwater.corpus.tasks.results import table_of
from headwater.corpus.tasks.segments import (
    DIGESTS,
    KEYS,
    LINE_KEYS,
    LINES,
    PASSAGES,
    SEGMENT_DOCUMENTS,
    SEGMENT_LINES,
    SITES,
    segment_file,
)
from headwater.corpus.tasks.work import Output, Task
from headwater.corpus.tasks.worker_context import WorkerContext

DROPPED = "dropped"
PASSAGE_CHARACTERS = 2000  # at most, and a quarter at least


def filter_part(context: WorkerContext, number: int) -> None:
    """Do the task of a part."""
    part = context.work.plan.parts[number]
    if part.at < 0:
        pieces = read_source(part.source, context.settings)
    else:
        pieces = read_files(context.work.plan.files(part), part.source, context.settings)
    with context.work.new_output(Task("filter", number)) as output:
        with (
            CandidateWriter(output.folder) as candidates,
            ShardWriter(output.folder / DROPPED, context.settings.shard_bytes) as dropped,
        ):
            part_filter = _PartFilter(context, part.source, output, candidates, dropped)
            for piece in pieces:
                part_filter.take(piece)
            part_filter.end_segment()
        output.digests |= candidates.digests
        output.add_digests(dropped.digests)
        facts = {"balance": part_filter.balance.as_dict(), "notes": part_filter.notes.as_dict()}
        output.facts = facts | {"segments": part_filter.segments, **part_filter.num_keys}


class _PartFilter:
    """Takes the pieces of a part one after another."""

    def __init__(
        self, context: WorkerContext, source: str, output: Output, candidates: CandidateWriter, dropped: ShardWriter
    ) -> None:
        self.balance = Balance([source])
        self.segments: list[int] = []
        self.notes = Notes()
        self.num_keys = {LINES: 0, PASSAGES: 0}
        self._context, self._source = context, source
        self._output, self._candidates, self._dropped = output, candidates, dropped
        self._keys = _Keys(context)
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
        self._candidates.add(document_line(document))
        self._keys.add(verdict.candidate, left_bytes)
        if self._keys.is_full:
            self.end_segment()

    def _drop(self, drop: Drop) -> None:
        self.balance.drop_(self._source, drop.reason, drop.num_documents, drop.num_bytes)
        if self._redacted:  # what is dropped before that step must not be kept with what it would have replaced
            drop = replace(drop, excerpt=redact(drop.excerpt, self._redacted)[0])
        self._dropped.write(drop_line(drop))

    def end_segment(self) -> None:
        if len(self._keys):
            self._output.write_arrays(self._keys.arrays(), segment_file(len(self.segments)))
            self.segments.append(len(self._keys))
            for name, number in self._keys.num_keys.items():
                self.num_keys[name] += number
            self._keys = _Keys(self._context)


class _Keys:
    """What is written down of the candidates of a segment."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        # arrays, since a list would hold an object of 32 bytes for every number
        self._digests = bytearray()
        self._bands, self._banded = array("Q"), array("I")
        self._lines, self._lined, self._sites = array("Q"), array("I"), array("Q")
        self._passages, self._passaged = array("Q"), array("I")
        self._columns = {name: array("Q") for name in ("text_bytes", "left_bytes", "split_hashes")}

    def __len__(self) -> int:
        return len(self._columns["left_bytes"])

    @property
    def is_full(self) -> bool:
        return len(self) >= SEGMENT_DOCUMENTS or max(self.num_keys.values()) >= SEGMENT_LINES

    @property
    def num_keys(self) -> dict[str, int]:
        return {LINES: len(self._lines), PASSAGES: len(self._passages)}

    def add(self, candidate: Candidate, left_bytes: int) -> None:
        """Append a candidate of whose bytes as read `left_bytes` are left."""
        settings, document = self._context.settings, candidate.document
        if settings.dedup.exact:
            self._digests += xxhash.xxh3_128_digest(" ".join(candidate.words).encode())
        if settings.dedup.near and document.kind not in (*settings.dedup.near_exempt_kinds, CONVERSATIONS):
            self._banded.append(len(self))
            self._bands.extend(self._context.minhash.band_keys(candidate.hashes))
        if rule := self._context.boilerplate:
            found = rule.keys(document)
            self._lines.extend(found)
            self._lined.extend([len(self)] * len(found))
            self._sites.append(rule.site_key(document) if found else 0)
        passages = passage_keys(document)
        self._passages.extend(passages)
        self._passaged.extend([len(self)] * len(passages))
        values = (
            num_bytes(document.text),
            left_bytes,
            split_hash(document.meta.get("group", document.text), settings.seed),
        )
        for column, value in zip(self._columns.values(), values):
            column.append(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every column; keys sorted, each with the place of its document in the segment."""
        arrays: dict[str, Any] = {name: np.array(values, dtype=np.uint64) for name, values in self._columns.items()}
        if self._digests:
            high, low = np.frombuffer(self._digests, dtype=">u8").astype(np.uint64).reshape(-1, 2).T
            order = np.lexsort((low, high))
            arrays["exact"] = table_of(DIGESTS, high[order], low[order], order)
        if self._bands:
            banded = np.array(self._banded, dtype=np.uint32)
            keys_by_band = np.array(self._bands, dtype=np.uint64).reshape(len(banded), -1).T
            for band, keys in enumerate(keys_by_band):
                order = np.argsort(keys, kind="stable")
                arrays[f"band{band}"] = table_of(KEYS, keys[order], banded[order])
        if self._lines:
            keys, at, sites = (np.array(each) for each in (self._lines, self._lined, self._sites))
            order = np.lexsort((at, keys))
            arrays |= {LINES: table_of(LINE_KEYS, keys[order], at[order], sites[at[order]]), SITES: sites}
        if self._passages:
            keys, at = np.array(self._passages), np.array(self._passaged)
            order = np.argsort(keys, kind="stable")
            arrays[PASSAGES] = table_of(KEYS, keys[order], at[order])
        return arrays


def passage_keys(document: Document) -> set[int]:
    """Return a hash of each passage of a long document; none of a conversation."""
    if len(document.text) <= PASSAGE_CHARACTERS or document.kind == CONVERSATIONS:
        return set()
    return {xxhash.xxh3_64_intdigest(each.strip().encode()) for each in sections([document.text], PASSAGE_CHARACTERS)}
