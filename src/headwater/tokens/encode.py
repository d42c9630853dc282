"""The tasks that encode a corpus: consecutive shards of it each, which become shards of a token store.

encode/000017/    the files of shards, numbered within the task

A shard of a store ends where a task's documents do, or where one more doesn't fit. How many shards of the corpus a task
has is a matter of their sizes alone, so that the same corpus gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from headwater.core.conversations import messages_of
from headwater.core.task_output import TaskOutput
from headwater.corpus.document import Document
from headwater.corpus.engine.tasks import Do
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.tokens.tokenizer.conversation import render
from headwater.tokens.tokenizer.settings import Markers
from headwater.tokens.tokenizer.tokenizer import Tokenizer, in_groups
from headwater.tokens.work import ShardGroup, ShardTasks, doing
from headwater.tokens.write import EncodedDocument, checked, shards_of, write_shard

ENCODE, TOKENIZER = "encode", "tokenizer"
_BATCH_CHARS = 4_000_000


def tasks_of_tokens(given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> Do:
    """Return what does a task of the tokens that are made in a folder."""

    def makes(tasks: ShardTasks) -> dict[str, Callable[[dict[str, Any], TaskOutput], None]]:
        @cache
        def tokenizer() -> Tokenizer:
            folder = tasks.folder / TOKENIZER
            tasks.place.fetch((folder, name) for name in tasks.place.output(folder).digests)
            loaded = Tokenizer.load(folder)
            loaded.num_threads = num_cores
            return loaded

        def encoded(documents: Iterator[Document]) -> Iterator[EncodedDocument]:
            for batch in in_groups(documents, lambda document: len(document.text), _BATCH_CHARS):
                found = list(checked(_encode_batch(tokenizer(), batch), given["vocab_size"]))
                on_read(sum(document.num_bytes for document in found))
                yield from found

        def encode(item: dict[str, Any], output: TaskOutput) -> None:
            shards, markers = list[dict[str, Any]](), Markers(**given["markers"])
            documents = encoded(ShardGroup.of(item).documents(given["corpus"]))
            for number, group in enumerate(shards_of(documents, given["shard_tokens"])):
                facts = write_shard(output.folder, number, group, given["vocab_size"], markers)
                output.digests |= {f"{facts['name']}.{kind}": of["digest"] for kind, of in facts["files"].items()}
                shards.append(facts)
            output.facts = {"shards": shards}

        return {ENCODE: encode}

    return doing(given, makes)


def _encode_batch(tokenizer: Tokenizer, batch: list[Document]) -> Iterator[EncodedDocument]:
    """Yield the ids of documents, of which all or none are conversations."""
    if batch[0].kind == CONVERSATIONS:
        conversations = render(tokenizer, [messages_of(document.text) for document in batch])
        encoded: Any = [(each.ids, each.is_target) for each in conversations]
    else:
        encoded = [(ids, None) for ids in tokenizer.encode_arrays([document.text for document in batch])]
    for document, (ids, is_target) in zip(batch, encoded, strict=True):
        yield EncodedDocument(ids, len(document.text.encode()), document.id, is_target)
