"""What a committed checkpoint says of itself, and whether it is whole; no tensor is loaded and torch isn't needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from headwater.core.errors import CheckpointError, ConfigError
from headwater.core.files import digest_bytes, digest_file, digest_json
from headwater.core.manifests import (
    MAX_COUNT,
    is_count,
    is_sealed,
    manifest_as_written,
    require_format,
    require_seal,
)
from headwater.train.checkpoint.layout import (
    FORMAT,
    FORMAT_VERSION,
    MODEL,
    OLD_VERSIONS,
    OPTIM,
    STATE_FILE,
    step_of,
    tensor_file,
)

_MAX_RANKS = 1 << 20


def checked_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint; raise CheckpointError when it is damaged.

    Raises ConfigError for one of a format that is read no more: it is not damaged, and stays where it is.
    """
    manifest, written = manifest_as_written(path)
    version = manifest.get("format_version")
    if version in OLD_VERSIONS and ("seal" not in manifest or is_sealed(manifest)):
        raise ConfigError(
            f"{path} is a checkpoint of format {version}, and this headwater reads {FORMAT_VERSION}; resume with "
            "the headwater that wrote it, or train again under another name (name=…)"
        )
    require_format(manifest, path, FORMAT, FORMAT_VERSION, CheckpointError)
    require_seal(manifest, written, path, CheckpointError)
    wrong = wrong_in(manifest)
    if wrong is not None:
        raise CheckpointError(f"{path} is damaged: {wrong} in its manifest.json can't be")
    step = manifest["step"]
    if step_of(path) not in (None, step):
        raise CheckpointError(f"{path} is damaged: its manifest.json is of step {step}")
    return manifest


def files_of(manifest: dict[str, Any], path: Path) -> list[str]:
    """Return the names of a checkpoint's files; raise CheckpointError where one that must be there isn't named."""
    names = list(manifest["files"])
    world_size = manifest["world_size"]
    wanted = [tensor_file(kind, rank, world_size) for kind in (MODEL, OPTIM) for rank in range(world_size)]
    for name in [*wanted, STATE_FILE]:
        digest_of(manifest, path / name)
    return names


def require_files(path: Path) -> None:
    """Raise CheckpointError unless every file of a checkpoint is there in its size; none is read."""
    manifest = checked_manifest(path)
    for name in files_of(manifest, path):
        file, wanted = path / name, manifest["files"][name]["bytes"]
        found = file.stat().st_size if file.is_file() else None
        if found != wanted:
            what = "is missing" if found is None else f"has {found} bytes where {wanted} were written"
            raise CheckpointError(f"{file} {what}")


def digest_of(manifest: dict[str, Any], file: Path) -> str:
    """Return the digest that a manifest says a file of its folder has; raise CheckpointError when it says none."""
    try:
        return str(manifest["files"][file.name]["digest"])
    except KeyError:
        raise CheckpointError(f"{file.parent} is damaged: its manifest.json has no digest of {file.name}") from None


@contextmanager
def read_errors(file: Path) -> Iterator[None]:
    """Let an error of the system, inside, say which file of a checkpoint can't be read."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{file} can't be read: {error.strerror}") from error


def require_whole(path: Path, digest: Callable[[Path], str] = digest_file) -> dict[str, Any]:
    """Return the manifest of a checkpoint of which every file is there with its digest; else raise CheckpointError."""
    manifest = checked_manifest(path)
    for name in files_of(manifest, path):
        file = path / name
        with read_errors(file):
            found = digest(file)
        if found != digest_of(manifest, file):
            raise CheckpointError(f"{file} is damaged: its digest differs from the one in manifest.json")
    return manifest


def is_whole(path: Path, digest: Callable[[Path], str] = digest_file) -> bool:
    """Return whether every file of a checkpoint is there and has the digest that its manifest says.

    One of a format that is read no more counts for nothing here; who opens it is told why.
    """
    try:
        require_whole(path, digest)
    except (CheckpointError, ConfigError):
        return False
    return True


def model_digest(path: Path, manifest: dict[str, Any] | None = None) -> str:
    """Return the digest of a checkpoint's weights, as its checked manifest says, whatever ranks wrote them."""
    table = (manifest or checked_manifest(path))["tensors"]
    return digest_json({name: facts["digest"] for name, facts in table.items() if name.startswith(f"{MODEL}.")})


def read_state(path: Path, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the state of a checkpoint; raise CheckpointError when it is damaged. Its tensors are not looked at.

    `manifest` is its checked manifest, where the caller has it.
    """
    file = path / STATE_FILE
    expected = digest_of(manifest or checked_manifest(path), file)
    data = file.read_bytes() if file.is_file() else b""
    if digest_bytes(data) != expected:
        raise CheckpointError(f"{file} is damaged: its digest differs from the one in manifest.json")
    return state_of(file, data)


def state_of(file: Path, data: bytes) -> dict[str, Any]:
    """Return the state that a file's bytes hold; raise CheckpointError when they hold none."""
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} is no state of a run, whatever its digest says")
    return state


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
