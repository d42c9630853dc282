"""The last task of a part: its shards of the corpus, as they will lie there, and its share of the balance.

train/SOURCE/000003-00000.jsonl.zst        what part 3 of the source gives, in the order in which it was read
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from headwater.corpus.balance import Balance, KeptBy
from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.quality.boilerplate import REASON as BOILERPLATE
from headwater.corpus.quality.filter import broken_rule
from headwater.corpus.read.sections import CutPoints
from headwater.corpus.shards import ShardWriter, document_line, drop_line, parse_document, read_lines
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.candidates import CandidateReader
from headwater.corpus.tasks.decisions import KEPT, REASONS, decisions_of, originals_of
from headwater.corpus.tasks.filter import DROPPED
from headwater.corpus.tasks.plan import Part
from headwater.corpus.tasks.repeats import cuts_by_document
from headwater.corpus.tasks.results import found_flags
from headwater.corpus.tasks.segments import PASSAGES
from headwater.corpus.tasks.splits import split_hashes, split_of
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext


def write(context: WorkerContext, number: int) -> None:
    """Do the task of a part."""
    part = context.work.plan.parts[number]
    with context.work.new_output(Task("write", number)) as output:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    ShardWriter(output.folder / name / part.source, context.settings.shard_bytes, f"{part.index:06d}-")
                )
                for name in ("train", "validation", "dropped")
            }
            writer = _PartWriter(context, part, writers)
            for line in read_lines(context.work.path_of("filter", number) / DROPPED):
                writers["dropped"].write(line)
            for row in _rows(context, part):
                writer.write(row)
        for name in writers:
            output.add_digests(writers[name].digests)
        output.facts = {"balance": writer.balance.as_dict(), "kept_by": writer.kept_by.as_dict()}


@dataclass(frozen=True, slots=True)
class _Row:
    """A candidate: its number and its line, and what was written down of it."""

    number: int
    line: bytes
    decision: int
    text_bytes: int
    left_bytes: int
    split_hash: int
    cuts: set[int]
    duplicate_of: str


def _rows(context: WorkerContext, part: Part) -> Iterator[_Row]:
    lines = iter(CandidateReader(context.work.path_of("filter", part.number)))
    decisions, shared = decisions_of(context.work), found_flags(context.work, PASSAGES)
    for segment in context.segments.of_part(part.number):
        file = context.segments.arrays(segment)
        columns = [file.map(name).tolist() for name in ("text_bytes", "left_bytes")]
        columns.append(split_hashes(file, segment, shared).tolist())
        numbers = range(segment.start, segment.end)
        cuts = cuts_by_document(context.results("repeats").pieces(segment.start, segment.end))
        columns.insert(0, decisions.between(segment.start, segment.end).tolist())
        originals = originals_of(context, segment, decisions)
        names = _names_of(context, set(originals.values()))
        for number, decision, text_bytes, left_bytes, value in zip(numbers, *columns, strict=True):
            original = names[originals[number]] if decision != KEPT else ""
            yield _Row(number, next(lines), decision, text_bytes, left_bytes, value, cuts.get(number, set()), original)


def _names_of(context: WorkerContext, numbers: set[int]) -> dict[int, str]:
    """Return source and id of documents; in rising order each block of them is read once."""
    documents = ((number, parse_document(context.candidate_texts.line(number))) for number in sorted(numbers))
    return {number: f"{document.source} {document.id}" for number, document in documents}


class _PartWriter:
    """Puts every candidate of a part where it belongs."""

    def __init__(self, context: WorkerContext, part: Part, writers: dict[str, ShardWriter]) -> None:
        self.balance = Balance([part.source])
        self.kept_by = KeptBy()
        self._context = context
        self._source = part.source
        self._split = split_of(context.work, part.source)
        self._writers = writers

    def write(self, row: _Row) -> None:
        if row.decision != KEPT:
            document = parse_document(row.line)
            self._drop(document.drop(REASONS[row.decision], row.left_bytes, duplicate_of=row.duplicate_of))
        elif row.cuts:
            self._write_shortened(row)
        elif row.number == self._split.tail_of:
            self._write_in_two(parse_document(row.line), row.left_bytes)
        else:
            self.balance.keep_(self._source, 1, row.left_bytes)
            self._place(self._side_of(row), row.line, row.text_bytes)

    def _write_shortened(self, row: _Row) -> None:
        """Write a page without what others of its site have, too; drop it when the rest breaks a rule of its kind."""
        assert self._context.boilerplate is not None
        document = parse_document(row.line)
        text, cut = self._context.boilerplate.without(document, row.cuts)
        shorter = replace(document, text=clean(text, document.kind))
        broken = broken_rule(
            Candidate(shorter, self._context.hasher), self._context.settings.rules, self._context.find_limits
        )
        if broken is not None:
            reason = BOILERPLATE if broken.reason == "empty" else broken.reason
            because = f"without what others have, too: {broken.because or 'nothing'}"
            self._drop(document.drop(reason, row.left_bytes, because=because))
            return
        left_bytes = row.left_bytes
        if cut:
            cut_bytes = min(num_bytes(document.text) - num_bytes(text), left_bytes)
            left_bytes -= cut_bytes
            self._drop(document.drop(BOILERPLATE, cut_bytes, cut, num_documents=0))
        text_bytes = num_bytes(shorter.text)
        if row.number == self._split.tail_of and text_bytes > 2 * self._split.tail_bytes:
            self._write_in_two(shorter, left_bytes)
            return
        self.balance.keep_(self._source, 1, left_bytes)
        self._place(self._side_of(row), document_line(shorter), text_bytes)

    def _write_in_two(self, document: Document, left_bytes: int) -> None:
        """Write a document whose end is held out: one document, which lies in both splits."""
        self.balance.keep_(self._source, 1, left_bytes)
        start, end = _cut_tail(document, self._split.tail_bytes)
        self._place("train", document_line(start), num_bytes(start.text))
        self._place("validation", document_line(end), num_bytes(end.text), num_documents=0)

    def _side_of(self, row: _Row) -> str:
        return "validation" if self._split.is_held_out(row.split_hash) else "train"

    def _drop(self, drop: Drop) -> None:
        self.balance.drop_(self._source, drop.reason, drop.num_documents, drop.num_bytes)
        self._writers["dropped"].write(drop_line(drop))

    def _place(self, side: str, line: bytes, text_bytes: int, num_documents: int = 1) -> None:
        self._writers[side].write(line)
        self.balance.place_(self._source, side, text_bytes)
        self.kept_by.add_(self._source, line, text_bytes, num_documents)


def _cut_tail(document: Document, tail_bytes: int) -> tuple[Document, Document]:
    text = document.text
    tail = len(text) * tail_bytes // num_bytes(text)
    end = CutPoints(text).best(len(text) - tail * 3 // 2, len(text) - tail)
    start = replace(document, id=f"{document.id}/start", text=clean(text[:end], document.kind))
    rest = replace(document, id=f"{document.id}/end", text=clean(text[end:], document.kind))
    return start, rest
