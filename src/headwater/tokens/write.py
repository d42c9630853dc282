"""Write a token store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import StoreError
from headwater.core.files import DigestedFile, new_folder, write_json
from headwater.tokens.format import (
    MAX_SHARD_TOKENS,
    STORE_FORMAT,
    STORE_VERSION,
    TARGETS_FILE,
    block_sums,
    data_files,
    manifest_digest,
    token_dtype,
)
from headwater.tokens.tokenizer.settings import OWN_MARKERS, Markers


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """A document's ids without begin and end, the number of UTF-8 bytes of its text, and its id in the corpus.

    `is_target`, of a conversation, says of each id whether it is learned; None: of any other text all are, and its end.
    """

    ids: Sequence[int] | np.ndarray
    num_bytes: int
    id: str
    is_target: np.ndarray | None = None


def write_store(
    out_dir: Path,
    documents: Iterable[EncodedDocument],
    vocab_size: int,
    tokenizer_digest: str,
    shard_tokens: int = MAX_SHARD_TOKENS,
    markers: Markers = OWN_MARKERS,
) -> dict[str, Any]:
    """Write the store of one source and return its manifest; the same documents give the same bytes.

    Raises StoreError for a document with an id outside the vocabulary, naming the document.
    """
    with new_folder(out_dir, replace=True) as folder:
        groups = shards_of(checked(documents, vocab_size), shard_tokens)
        shards = [write_shard(folder, number, group, vocab_size, markers) for number, group in enumerate(groups)]
        return write_manifest(folder, shards, vocab_size, tokenizer_digest, markers)


def write_manifest(
    folder: Path, shards: list[dict[str, Any]], vocab_size: int, tokenizer_digest: str, markers: Markers
) -> dict[str, Any]:
    """Write and return the manifest of the store whose shards lie in an unfinished folder."""
    manifest = {
        "format": STORE_FORMAT,
        "format_version": STORE_VERSION,
        "dtype": token_dtype(vocab_size).name,
        "vocab_size": vocab_size,
        "tokenizer": tokenizer_digest,
        **asdict(markers),
        "num_documents": sum(shard["num_documents"] for shard in shards),
        "num_tokens": sum(shard["num_tokens"] for shard in shards),
        "num_bytes": sum(shard["num_bytes"] for shard in shards),
        "shards": shards,
    }
    manifest["digest"] = manifest_digest(manifest)
    write_json(folder / "manifest.json", manifest)
    return manifest


def shards_of(documents: Iterable[EncodedDocument], shard_tokens: int) -> Iterator[list[EncodedDocument]]:
    """Yield the documents of each shard: as many as fit into `shard_tokens`, one at least."""
    group: list[EncodedDocument] = []
    num_tokens = 0
    for document in documents:
        length = len(document.ids) + 2
        if group and num_tokens + length > shard_tokens:
            full, group, num_tokens = group, [], 0
            yield full
            del full  # whoever took it may let it go
        group.append(document)
        num_tokens += length
    if group:
        yield group


def checked(documents: Iterable[EncodedDocument], vocab_size: int) -> Iterator[EncodedDocument]:
    """Yield the documents with their ids in the dtype of the store; raise StoreError for one outside the vocabulary."""
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
        yield replace(document, ids=ids.astype(dtype))


def write_shard(
    folder: Path, number: int, group: Sequence[EncodedDocument], vocab_size: int, markers: Markers
) -> dict[str, Any]:
    """Write a shard of checked documents into an unfinished folder and return its entry of the manifest."""
    dtype, name = token_dtype(vocab_size), f"{number:05d}"
    begin, end = np.array([markers.begin_id], dtype=dtype), np.array([markers.end_id], dtype=dtype)
    tokens = np.concatenate(list(chain.from_iterable((begin, document.ids, end) for document in group)))
    lengths = np.array([len(document.ids) + 2 for document in group])
    data: dict[str, bytes | memoryview] = {
        "bin": tokens.data.cast("B"),
        "off": np.concatenate([[0], np.cumsum(lengths)]).astype("<u8").tobytes(),
        "len": np.array([document.num_bytes for document in group], dtype="<u8").tobytes(),
        "ids": document_names(group),
    }
    counts = {"num_targets": int(is_target.sum())} if (is_target := _targets(group)) is not None else {}
    if is_target is not None:
        data[TARGETS_FILE] = np.packbits(is_target, bitorder="little").tobytes()
    data["sum"] = np.concatenate([block_sums(data[kind]) for kind in data_files(data)]).tobytes()
    files = {}
    for kind, content in data.items():
        with DigestedFile(folder / f"{name}.{kind}") as file:
            file.write(content)
        files[kind] = file.facts()
    return {
        "name": name,
        "num_documents": len(group),
        "num_tokens": len(tokens),
        "num_bytes": sum(document.num_bytes for document in group),
        **counts,
        "files": files,
    }


def _targets(group: Sequence[EncodedDocument]) -> np.ndarray | None:
    """Return which tokens of a shard are targets, neither begin nor end among them; None where no document says it."""
    if group[0].is_target is None:
        return None
    return np.concatenate([np.pad(np.asarray(document.is_target, dtype=bool), 1) for document in group])


def document_names(documents: Sequence[EncodedDocument]) -> bytes:
    """Return the ids that documents have in the corpus, one JSON string a line."""
    lines = "".join(json.dumps(document.id, ensure_ascii=False) + "\n" for document in documents)
    return lines.encode(errors="backslashreplace")
