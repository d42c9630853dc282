"""Encode a corpus: one store for every split and source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from headwater.corpus.document import Document
from headwater.corpus.load import SPLITS, list_sources, read_corpus_manifest, read_documents
from headwater.files import digest_json, flush, new_folder, no_check, remove_folder, stage_key, write_json
from headwater.seals import seal
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.format import MAX_SHARD_TOKENS, STORE_VERSION, TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.progress import Progress
from headwater.tokens.work import SourceWork, begin_work, end_work
from headwater.tokens.write import EncodedDocument, checked, shards_of, write_manifest

STAGE_VERSION = 1
SHARD_TOKENS = MAX_SHARD_TOKENS
_BATCH_CHARS = 4_000_000
_COUNTS = ("num_documents", "num_tokens", "num_bytes")


def tokens_key(corpus_digest: str, tokenizer_digest: str) -> str:
    """Return the key of the stores that this tokenizer gives on the corpus of this digest."""
    version = STAGE_VERSION * 1000 + STORE_VERSION
    return stage_key("tokens", version, {}, {"corpus": corpus_digest, "tokenizer": tokenizer_digest})


def build_tokens(
    corpus_dir: Path,
    tokenizer: Tokenizer,
    out_dir: Path,
    key: str,
    say: Callable[[str], None],
    before_commit: Callable[[], None] = no_check,
) -> dict[str, Any]:
    """Write the stores of every split and source of the corpus and return the manifest over all of them.

    What a build of the same key that was interrupted had encoded is not encoded again. `before_commit` may still raise
    when all is written and nothing replaced.
    """
    sizes = read_corpus_manifest(corpus_dir)["splits"]
    sources = sorted(list_sources(corpus_dir))
    progress = Progress(sum(sizes[split][source]["bytes"] for split in SPLITS for source in sources), say)
    work_dir = begin_work(out_dir, key)
    made: dict[tuple[str, str], SourceWork] = {}
    for split, source in product(SPLITS, sources):
        made[split, source] = work = SourceWork(work_dir / split / source)
        _Source(corpus_dir, split, source, tokenizer, work, progress).encode()
        say(_summary(split, source, work.shards()))
    flush(path for work in made.values() for path in work.files())  # moved, they may be lost until the folder is whole
    with new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        splits: dict[str, dict[str, Any]] = {split: {} for split in SPLITS}
        for (split, source), work in made.items():
            shards = work.shards()
            work.move_shards(folder / split / source)
            store = write_manifest(folder / split / source, shards, tokenizer.vocab_size, tokenizer.digest)
            splits[split][source] = _facts(store)
        manifest = {
            "format": TOKENS_FORMAT,
            "format_version": TOKENS_VERSION,
            "key": key,
            "digest": digest_json(splits),
            "tokenizer": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "splits": splits,
        }
        write_json(folder / "manifest.json", seal(manifest))
    end_work(out_dir)
    return manifest


def discard_work(tokens_dir: Path) -> None:
    """Remove what a build leaves that ended between its last two acts: when the tokens are there, nothing needs it."""
    end_work(tokens_dir)


@dataclass(frozen=True)
class _Source:
    """Encodes one split of one source, from where an earlier process stopped."""

    corpus_dir: Path
    split: str
    source: str
    tokenizer: Tokenizer
    work: SourceWork
    progress: Progress

    def encode(self) -> None:
        """Write the shards that are missing."""
        shards = self.work.shards()
        start = sum(shard["num_documents"] for shard in shards)
        self.progress.was_done(sum(shard["num_bytes"] for shard in shards))
        for number, group in enumerate(shards_of(self._documents(start), SHARD_TOKENS), len(shards)):
            self.work.write_shard(number, group, self.tokenizer.vocab_size)
            start += len(group)
            self.work.forget_pieces(start)

    def _documents(self, start: int) -> Iterator[EncodedDocument]:
        """Yield the encoded documents from number `start` on; a piece is kept on disk before it is yielded."""
        for piece in self.work.pieces():
            if piece.first <= start < piece.end:
                documents = list(piece.documents(start))
                self.progress.was_done(sum(document.num_bytes for document in documents))
                yield from documents
                start = piece.end
            elif piece.first > start:  # one between was damaged
                remove_folder(piece.folder)
        texts = read_documents(self.corpus_dir, self.split, self.source, start)
        for batch in batches(texts):
            encoded = list(checked(_encode_batch(self.tokenizer, batch), self.tokenizer.vocab_size))
            piece = self.work.write_piece(start, encoded)
            self.progress.done(sum(document.num_bytes for document in encoded))
            del encoded  # what the piece gives is on the disk
            yield from piece.documents(start)
            start = piece.end


def encode_documents(tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[EncodedDocument]:
    """Encode documents in order, a few megabytes of text at a time so that all cores have work."""
    for batch in batches(documents):
        yield from _encode_batch(tokenizer, batch)


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents in order, a few megabytes of text at a time."""
    batch: list[Document] = []
    num_chars = 0
    for document in documents:
        batch.append(document)
        num_chars += len(document.text)
        if num_chars >= _BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _encode_batch(tokenizer: Tokenizer, batch: list[Document]) -> Iterator[EncodedDocument]:
    encoded = tokenizer.encode_arrays([document.text for document in batch])
    for document, ids in zip(batch, encoded, strict=True):
        yield EncodedDocument(ids, len(document.text.encode()), document.id)


def _facts(store: dict[str, Any]) -> dict[str, Any]:
    # the ids that stand for text: begin and end carry no byte
    num_text_tokens = store["num_tokens"] - 2 * store["num_documents"]
    return {
        "digest": store["digest"],
        "num_documents": store["num_documents"],
        "num_tokens": store["num_tokens"],
        "num_bytes": store["num_bytes"],
        "bytes_per_token": round(store["num_bytes"] / num_text_tokens, 4) if num_text_tokens else None,
    }


def _summary(split: str, source: str, shards: list[dict[str, Any]]) -> str:
    num_documents, num_tokens, num_bytes = (sum(shard[name] for shard in shards) for name in _COUNTS)
    rate = num_bytes / max(num_tokens - 2 * num_documents, 1)
    return f"{split} {source}: {num_documents:,} documents, {num_tokens:,} tokens, {rate:.2f} bytes a token"
