"""The tasks that encode a corpus: some of its shards each, and then what is encoded, each a shard of a token store.

encode/000017/    the documents of some shards of the corpus, encoded
shards/000003/    the files of a shard of a store, as they will be there

A shard of a store holds as many documents of a source as fit, wherever the corpus' shards end: so that the same
documents give the same bytes, what is encoded is counted before a second stage divides it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.conversations import messages_of
from headwater.core.files import DigestedFile
from headwater.core.task_output import TaskOutput
from headwater.corpus.document import Document
from headwater.corpus.engine.tasks import Do
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.tokens.format import COUNTS, token_dtype
from headwater.tokens.tokenizer.conversation import render
from headwater.tokens.tokenizer.settings import Markers
from headwater.tokens.tokenizer.tokenizer import Tokenizer, in_groups
from headwater.tokens.work import Make, ShardGroup, ShardTasks, doing
from headwater.tokens.write import EncodedDocument, checked, document_names, write_shard

ENCODE, SHARDS, TOKENIZER = "encode", "shards", "tokenizer"
_BATCH_CHARS = 4_000_000
LENGTHS, _SIZES = "lengths.bin", "<u8"


def tasks_of_tokens(given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> Do:
    """Return what does a task of the tokens that are made in a folder."""
    return doing(given, lambda tasks: _makes(tasks, given, on_read, num_cores))


def _makes(tasks: ShardTasks, given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> dict[str, Make]:
    vocab_size = given["vocab_size"]
    dtype = token_dtype(vocab_size).str

    @cache
    def tokenizer() -> Tokenizer:  # the tasks of the second stage need none
        folder = tasks.folder / TOKENIZER
        tasks.place.fetch((folder, name) for name in tasks.place.output(folder).digests)
        loaded = Tokenizer.load(folder)
        loaded.num_threads = num_cores
        return loaded

    def encode(item: dict[str, Any], output: TaskOutput) -> None:
        documents = ShardGroup.of(item).documents(given["corpus"])
        found = _Encoded(output)
        for batch in in_groups(documents, lambda document: len(document.text), _BATCH_CHARS):
            encoded = list(checked(_encode_batch(tokenizer(), batch), vocab_size))
            on_read(found.add(encoded))
        found.end()

    def shard(item: dict[str, Any], output: TaskOutput) -> None:
        documents = list[EncodedDocument]()
        for number, first, end in item["ranges"]:
            path = tasks.path_of(ENCODE, number)
            tasks.place.fetch((path, name) for name in tasks.place.output(path).digests)
            documents += encoded_documents(path, dtype, first, end)
        output.facts = write_shard(output.folder, item["shard"], documents, vocab_size, Markers(**given["markers"]))
        name = output.facts["name"]
        output.digests = {f"{name}.{kind}": facts["digest"] for kind, facts in output.facts["files"].items()}

    return {ENCODE: encode, SHARDS: shard}


def _encode_batch(tokenizer: Tokenizer, batch: list[Document]) -> Iterator[EncodedDocument]:
    """Yield the ids of documents, of which all or none are conversations."""
    encoded: list[tuple[np.ndarray, np.ndarray | None]]
    if batch[0].kind == CONVERSATIONS:
        conversations = render(tokenizer, [messages_of(document.text) for document in batch])
        encoded = [(each.ids, each.is_target) for each in conversations]
    else:
        encoded = [(ids, None) for ids in tokenizer.encode_arrays([document.text for document in batch])]
    for document, (ids, is_target) in zip(batch, encoded, strict=True):
        yield EncodedDocument(ids, len(document.text.encode()), document.id, is_target)


class _Encoded:
    """Encoded documents on their way to a task's output."""

    def __init__(self, output: TaskOutput) -> None:
        self._output, self._files = output, dict[str, DigestedFile]()
        self._counts = dict.fromkeys(COUNTS, 0)

    def add(self, documents: list[EncodedDocument]) -> int:
        """Write documents down, of which all or none have targets; return the bytes of their text."""
        lengths = np.array([len(document.ids) for document in documents], dtype=_SIZES)
        sizes = np.array([document.num_bytes for document in documents], dtype=_SIZES)
        self._write("ids", np.concatenate([document.ids for document in documents]))
        self._write("lengths", lengths)
        self._write("sizes", sizes)
        self._write("names", np.frombuffer(document_names(documents), dtype="u1"))
        if documents[0].is_target is not None:
            self._write("targets", np.concatenate([np.asarray(each.is_target, dtype="u1") for each in documents]))
        num_tokens = int(lengths.sum()) + 2 * len(documents)
        for name, more in zip(COUNTS, (len(documents), num_tokens, int(sizes.sum())), strict=True):
            self._counts[name] += more
        return int(sizes.sum())

    def _write(self, name: str, values: np.ndarray) -> None:
        if name not in self._files:
            self._files[name] = DigestedFile(self._output.folder / f"{name}.bin")  # closed by end()
        self._files[name].write(np.ascontiguousarray(values))

    def end(self) -> None:
        for name, file in self._files.items():
            file.close()
            self._output.digests[f"{name}.bin"] = file.digest
        self._output.facts = self._counts


def lengths_of(folder: Path) -> np.ndarray:
    """Return the tokens of each encoded document in a task's output, without begin and end."""
    return np.fromfile(folder / LENGTHS, dtype=_SIZES)


def encoded_documents(folder: Path, dtype: str, first: int, end: int) -> Iterator[EncodedDocument]:
    """Yield encoded documents of a task's output, from number `first` up to `end`; their ids are views of the disk."""
    lengths, sizes = lengths_of(folder), np.fromfile(folder / "sizes.bin", dtype=_SIZES)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    names = (folder / "names.bin").read_bytes().split(b"\n")
    ids, has_targets = _mapped(folder / "ids.bin", dtype), (folder / "targets.bin").is_file()
    targets = _mapped(folder / "targets.bin", "u1") if has_targets else None
    for at in range(first, end):
        own = slice(bounds[at], bounds[at + 1])
        own_targets = None if targets is None else targets[own]
        yield EncodedDocument(ids[own], int(sizes[at]), json.loads(names[at]), own_targets)


def _mapped(path: Path, dtype: str) -> np.ndarray:
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)


def shard_ranges(lengths: Iterable[tuple[int, np.ndarray]], max_tokens: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield which documents each shard holds, as `write.shards_of` does: as many as fit, one at least.

    `lengths` are numbers of tasks, each with the tokens of its documents; a range is a task's number, the first of its
    documents and the one behind the last.
    """
    ranges, room = list[tuple[int, int, int]](), max_tokens
    for number, of_task in lengths:
        ends, first = np.cumsum(of_task.astype(np.int64) + 2), 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            end = int(np.searchsorted(ends, before + room, side="right"))
            end = max(end, first if ranges else first + 1)
            if end > first:
                ranges.append((number, first, end))
                room -= int(ends[end - 1]) - before
            if end < len(ends):
                yield ranges
                ranges, room = [], max_tokens
            first = end
    if ranges:
        yield ranges
