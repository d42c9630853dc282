"""Encode a corpus: one store for every split and source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from headwater.corpus.document import Document
from headwater.corpus.load import SPLITS, list_sources, read_documents
from headwater.files import digest_json, new_folder, no_check, stage_key, write_json
from headwater.seals import seal
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokens.format import STORE_VERSION, TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.write import EncodedDocument, write_store

STAGE_VERSION = 1
_BATCH_CHARS = 4_000_000


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

    `before_commit` may still raise when all is written and nothing replaced.
    """
    splits: dict[str, dict[str, Any]] = {}
    with new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        for split in SPLITS:
            splits[split] = {}
            for source in sorted(list_sources(corpus_dir)):
                documents = encode_documents(tokenizer, read_documents(corpus_dir, split, source))
                store = write_store(folder / split / source, documents, tokenizer.vocab_size, tokenizer.digest)
                splits[split][source] = _facts(store)
                say(_progress(split, source, splits[split][source]))
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
    return manifest


def encode_documents(tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[EncodedDocument]:
    """Encode documents in order, a few megabytes of text at a time so that all cores have work."""
    batch: list[Document] = []
    num_chars = 0
    for document in documents:
        batch.append(document)
        num_chars += len(document.text)
        if num_chars >= _BATCH_CHARS:
            yield from _encode_batch(tokenizer, batch)
            batch, num_chars = [], 0
    yield from _encode_batch(tokenizer, batch)


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


def _progress(split: str, source: str, facts: dict[str, Any]) -> str:
    return (
        f"{split} {source}: {facts['num_documents']:,} documents, {facts['num_tokens']:,} tokens, "
        f"{facts['bytes_per_token'] or 0:.2f} bytes a token"
    )
