"""Write a token store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import StoreError
from headwater.files import digest_bytes, new_folder, write_bytes, write_json
from headwater.tokenizer.special import BEGIN_ID, END_ID, PAD_ID
from headwater.tokens.format import (
    DATA_FILES,
    MAX_SHARD_TOKENS,
    STORE_FORMAT,
    STORE_VERSION,
    block_sums,
    manifest_digest,
    token_dtype,
)


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """A document's ids without begin and end, the number of UTF-8 bytes of its text, and its id in the corpus."""

    ids: Sequence[int] | np.ndarray
    num_bytes: int
    id: str


def write_store(
    out_dir: Path,
    documents: Iterable[EncodedDocument],
    vocab_size: int,
    tokenizer_digest: str,
    shard_tokens: int = MAX_SHARD_TOKENS,
) -> dict[str, Any]:
    """Write the store of one source and return its manifest; the same documents give the same bytes.

    Raises StoreError for a document with an id outside the vocabulary, naming the document.
    """
    shards: list[dict[str, Any]] = []
    with new_folder(out_dir, replace=True) as folder:
        for group in _shards(_checked(documents, vocab_size), shard_tokens):
            shards.append(_write_shard(folder, f"{len(shards):05d}", group, token_dtype(vocab_size)))
        manifest = {
            "format": STORE_FORMAT,
            "format_version": STORE_VERSION,
            "dtype": token_dtype(vocab_size).name,
            "vocab_size": vocab_size,
            "tokenizer": tokenizer_digest,
            "begin_id": BEGIN_ID,
            "end_id": END_ID,
            "pad_id": PAD_ID,
            "num_documents": sum(shard["num_documents"] for shard in shards),
            "num_tokens": sum(shard["num_tokens"] for shard in shards),
            "num_bytes": sum(shard["num_bytes"] for shard in shards),
            "shards": shards,
        }
        manifest["digest"] = manifest_digest(manifest)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _shards(documents: Iterable[EncodedDocument], shard_tokens: int) -> Iterator[list[EncodedDocument]]:
    group: list[EncodedDocument] = []
    num_tokens = 0
    for document in documents:
        length = len(document.ids) + 2
        if group and num_tokens + length > shard_tokens:
            yield group
            group, num_tokens = [], 0
        group.append(document)
        num_tokens += length
    if group:
        yield group


def _checked(documents: Iterable[EncodedDocument], vocab_size: int) -> Iterator[EncodedDocument]:
    """Yield the documents with their ids in the dtype of the store."""
    dtype = token_dtype(vocab_size)
    for document in documents:
        ids = np.asarray(document.ids, dtype=np.int64)
        # before the cast: it would wrap in silence
        wrong = ids[(ids < 0) | (ids >= vocab_size)]
        if wrong.size:
            raise StoreError(
                f"document {document.id!r} holds token id {wrong[0]}, outside the vocabulary of {vocab_size}; "
                "encode it with the tokenizer that the store is for"
            )
        yield EncodedDocument(ids.astype(dtype), document.num_bytes, document.id)


def _write_shard(folder: Path, name: str, group: list[EncodedDocument], dtype: np.dtype) -> dict[str, Any]:
    begin, end = np.array([BEGIN_ID], dtype=dtype), np.array([END_ID], dtype=dtype)
    tokens = np.concatenate(list(chain.from_iterable((begin, document.ids, end) for document in group)))
    lengths = np.array([len(document.ids) + 2 for document in group])
    data = {
        "bin": tokens.tobytes(),
        "off": np.concatenate([[0], np.cumsum(lengths)]).astype("<u8").tobytes(),
        "len": np.array([document.num_bytes for document in group], dtype="<u8").tobytes(),
        "ids": "".join(json.dumps(document.id, ensure_ascii=False) + "\n" for document in group).encode(
            errors="backslashreplace"
        ),
    }
    data["sum"] = np.concatenate([block_sums(data[kind]) for kind in DATA_FILES]).tobytes()
    for kind, content in data.items():
        write_bytes(folder / f"{name}.{kind}", content)
    return {
        "name": name,
        "num_documents": len(group),
        "num_tokens": len(tokens),
        "num_bytes": sum(document.num_bytes for document in group),
        "files": {kind: {"bytes": len(content), "digest": digest_bytes(content)} for kind, content in data.items()},
    }
