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
    """A document's ids without begin and end, the UTF-8 bytes of its text, and its id in the corpus."""

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
        for group in _shards(documents, shard_tokens):
            shards.append(_write_shard(folder, f"{len(shards):05d}", group, vocab_size))
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
        # 4 bytes an id while a shard is gathered, where a list of int takes 8 and more
        ids = np.asarray(document.ids, dtype=np.int64)
        group.append(EncodedDocument(_narrow(ids, document.id), document.num_bytes, document.id))
        num_tokens += length
    if group:
        yield group


def _narrow(ids: np.ndarray, name: str) -> np.ndarray:
    if ids.size and not 0 <= ids.min() <= ids.max() < 1 << 32:
        raise StoreError(f"document {name!r} has token ids from {ids.min()} to {ids.max()}, which no vocabulary holds")
    return ids.astype(np.uint32)


def _write_shard(folder: Path, name: str, group: list[EncodedDocument], vocab_size: int) -> dict[str, Any]:
    for document in group:
        largest = int(np.max(document.ids, initial=0))
        # checked here, because a cast to uint16 would wrap in silence
        if largest >= vocab_size:
            raise StoreError(
                f"document {document.id!r} holds token id {largest}, outside the vocabulary of {vocab_size}; "
                "encode it with the tokenizer that the store is for"
            )
    begin, end = np.array([BEGIN_ID]), np.array([END_ID])
    tokens = np.concatenate(list(chain.from_iterable((begin, document.ids, end) for document in group)))
    lengths = np.array([len(document.ids) + 2 for document in group])
    data = {
        "bin": tokens.astype(token_dtype(vocab_size)).tobytes(),
        "off": np.concatenate([[0], np.cumsum(lengths)]).astype("<u8").tobytes(),
        "len": np.array([document.num_bytes for document in group], dtype="<u8").tobytes(),
        "ids": "".join(json.dumps(document.id, ensure_ascii=False) + "\n" for document in group).encode(),
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
