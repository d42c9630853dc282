"""The token store on disk: one folder a source and split.

    NNNNN.bin      token ids, little-endian uint16 (vocabulary up to 65,536) or uint32; every document is
                   [begin] + ids + [end]
    NNNNN.off      uint64, number of documents + 1: where each document starts in NNNNN.bin, in tokens
    NNNNN.len      uint64: UTF-8 bytes of each document's text
    NNNNN.ids      one JSON string a line: the id of each document in the corpus
    NNNNN.tgt      one bit a token, the lowest bit of a byte first: set where the token is a target. Only in a shard of
                   conversations; without it every token but a document's first is one
    NNNNN.sum      uint64: xxh3-64 of each block of 1 MiB of .bin, then of .off, .len and .ids, and of .tgt
    manifest.json  written last; sizes and SHA-256 of every file

All integers are little-endian. A document never crosses shards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

from headwater.core.files import digest_json, stage_key
from headwater.core.manifests import is_count

STORE_FORMAT = "headwater-token-store"
STORE_VERSION = 1
TOKENS_FORMAT = "headwater-tokens"
TOKENS_VERSION = 2
STAGE_VERSION = 1

BLOCK_BYTES = 1 << 20
MAX_SHARD_TOKENS = 1 << 26  # a shard is gathered in memory before it is written
DATA_FILES = ("bin", "off", "len", "ids")
TARGETS_FILE = "tgt"
REBUILD = "remove the tokens folder, and `headwater run` encodes the corpus again"
_SHARD_NAME = re.compile(r"\d{5,12}")  # never a path
_MAX_VOCAB_SIZE = 1 << 32
COUNTS = ("num_documents", "num_tokens", "num_bytes")


def tokens_key(corpus_digest: str, tokenizer_digest: str, replayed_digest: str = "") -> str:
    """Return the key of the stores that this tokenizer gives on the corpus of this digest, and of what is replayed."""
    version, inputs = STAGE_VERSION * 1000 + STORE_VERSION, {"corpus": corpus_digest, "tokenizer": tokenizer_digest}
    return stage_key("tokens", version, {}, inputs | ({"replayed": replayed_digest} if replayed_digest else {}))


def token_dtype(vocab_size: int) -> np.dtype:
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def data_files(kinds: Iterable[str]) -> list[str]:
    """Return which files of a shard, of these kinds, have checksums, in the order of those."""
    return [*DATA_FILES, *({TARGETS_FILE} & set(kinds))]


def block_sums(data: bytes | memoryview) -> np.ndarray:
    """Return xxh3-64 of every block of 1 MiB, the last one shorter; nothing for no bytes."""
    view = memoryview(data).cast("B")
    blocks = [view[start : start + BLOCK_BYTES] for start in range(0, len(view), BLOCK_BYTES)]
    return np.array([xxhash.xxh3_64_intdigest(block) for block in blocks], dtype="<u8")


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the digest of a manifest without its digest: it covers the SHA-256 of every file of the store."""
    return digest_json({name: value for name, value in manifest.items() if name != "digest"})


def wrong_in(manifest: dict[str, Any]) -> str | None:
    """Return what in a store's manifest can't be, or None: then every size and name in it agrees with the others.

    Its digest only says that nobody erred: every number is checked before one is used.
    """
    vocab_size, shards = manifest.get("vocab_size"), manifest.get("shards")
    if not is_count(vocab_size) or not 1 <= vocab_size <= _MAX_VOCAB_SIZE:
        return "vocab_size"
    if manifest.get("dtype") != token_dtype(vocab_size).name:
        return "dtype"
    if not isinstance(manifest.get("tokenizer"), str):
        return "tokenizer"
    if not all(is_count(manifest.get(name)) for name in ("begin_id", "end_id", "pad_id", *COUNTS)):
        return "a number"
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        return "shards"
    for number, shard in enumerate(shards):
        wrong = _wrong_in_shard(shard, token_dtype(vocab_size).itemsize)
        if wrong is not None:
            return f"{wrong} of shard {number}"
    if len({shard["name"] for shard in shards}) != len(shards):
        return "two shards of one name"
    if len({"num_targets" in shard for shard in shards}) > 1:
        return "targets in some of its shards alone"
    sums = [name for name in COUNTS if sum(shard[name] for shard in shards) != manifest[name]]
    return f"{sums[0]}, which its shards don't add up to" if sums else None


def _wrong_in_shard(shard: dict[str, Any], token_bytes: int) -> str | None:
    name, files = shard.get("name"), shard.get("files")
    if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
        return "the name"
    if not all(is_count(shard.get(count)) for count in COUNTS) or shard["num_documents"] < 1:
        return "a number"
    if not isinstance(files, dict) or set(files) != {*data_files(files), "sum"}:
        return "the files"
    if ("num_targets" in shard) != (TARGETS_FILE in files) or not is_count(shard.get("num_targets", 0)):
        return "the number of targets"
    if not all(isinstance(facts, dict) and is_count(facts.get("bytes")) for facts in files.values()):
        return "the size of a file"
    if not all(isinstance(facts.get("digest"), str) for facts in files.values()):
        return "the digest of a file"
    size = {kind: facts["bytes"] for kind, facts in files.items()}
    # a document is at least its begin and end
    if shard["num_tokens"] < 2 * shard["num_documents"] or size["ids"] < shard["num_documents"]:
        return "the number of documents"
    expected = {
        "bin": token_bytes * shard["num_tokens"],
        "off": 8 * (shard["num_documents"] + 1),
        "len": 8 * shard["num_documents"],
        **({TARGETS_FILE: -(-shard["num_tokens"] // 8)} if TARGETS_FILE in files else {}),
        "sum": 8 * sum(-(-size[kind] // BLOCK_BYTES) for kind in data_files(files)),
    }
    wrong = [kind for kind, num_bytes in expected.items() if size[kind] != num_bytes]
    return f"the size of .{wrong[0]}" if wrong else None
