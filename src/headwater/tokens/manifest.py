"""The manifest of a token store, checked in every number before one is used: its digest only says that nobody erred."""

from __future__ import annotations

import re
from typing import Any

from headwater.core.manifests import is_count
from headwater.tokens.format import BLOCK_BYTES, TARGETS_FILE, data_files, token_dtype

_SHARD_NAME = re.compile(r"\d{5,12}")  # never a path
_MAX_VOCAB_SIZE = 1 << 32
COUNTS = ("num_documents", "num_tokens", "num_bytes")


def wrong_in(manifest: dict[str, Any]) -> str | None:
    """Return what in a store's manifest can't be, or None: then every size and name in it agrees with the others."""
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
