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

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

from headwater.core.files import digest_json, stage_key

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
