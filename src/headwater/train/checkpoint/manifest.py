"""The manifest of a checkpoint, checked in every part before one is used: its seal only says that nobody erred."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from headwater.core.manifests import MAX_COUNT, is_count

_MAX_RANKS = 1 << 20


def wrong_in(manifest: dict[str, Any]) -> str | None:
    """Return what in a manifest can't be, or None: then each of its parts may be relied on.

    Whether its files are there, have their digests and hold what the table says is for their readers to find.
    """
    files, world_size, table = manifest.get("files"), manifest.get("world_size"), manifest.get("tensors")
    if not is_count(manifest.get("step")):
        return "the step"
    if not is_count(world_size) or not 1 <= world_size <= _MAX_RANKS:
        return "the number of ranks"
    if not isinstance(files, dict) or not all(map(_is_file, files.items())):
        return "the table of files"
    if not all(is_count(facts.get("bytes")) for facts in files.values()):
        return "the size of a file"
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        return "the table of tensors"
    wrong = [name for name, entry in table.items() if not _is_tensor(entry, files)]
    if wrong:
        return f"what it says of {wrong[0]!r:.100}"
    # so that no one sets memory aside for what no file can hold
    if sum(prod(entry["shape"]) for entry in table.values()) > sum(facts["bytes"] for facts in files.values()):
        return "the size of its tensors, larger than its files,"
    return None


def _is_file(named: tuple[str, Any]) -> bool:
    name, facts = named
    is_plain = Path(name).name == name and "\0" not in name  # a file in the folder, not anywhere else
    return is_plain and isinstance(facts, dict) and isinstance(facts.get("digest"), str)


def _is_tensor(entry: dict[str, Any], files: dict[str, Any]) -> bool:
    shape, digest, chunks = entry.get("shape"), entry.get("digest"), entry.get("chunks")
    if not isinstance(entry.get("dtype"), str) or not (digest is None or isinstance(digest, str)):
        return False
    if not _are_counts(shape) or not isinstance(chunks, list) or not chunks:
        return False
    if not all(isinstance(chunk, dict) and _is_chunk(chunk, shape, files) for chunk in chunks):
        return False
    return sum(prod(chunk["shape"]) for chunk in chunks) == prod(shape)


def _is_chunk(chunk: dict[str, Any], whole: list[int], files: dict[str, Any]) -> bool:
    file, offsets, shape = chunk.get("file"), chunk.get("offsets"), chunk.get("shape")
    if not isinstance(file, str) or file not in files or not _are_counts(offsets) or not _are_counts(shape):
        return False
    is_box = len(offsets) == len(shape) == len(whole)
    return is_box and all(at + size <= end for at, size, end in zip(offsets, shape, whole, strict=True))


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(map(is_count, values)) and prod(values) <= MAX_COUNT
