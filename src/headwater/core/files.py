"""Every durable write of the project: a file or folder under its final name is complete.

Commit protocol: write under a temporary name in the same folder, flush to disk, rename, flush the folder.
A folder is written under a temporary name with its manifest last, flushed, and renamed as a whole.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from headwater.core import disk
from headwater.core.errors import TEMPORARY_MARK, StorageError, megabytes, storage_errors
from headwater.core.owners import require_owner


def temporary_beside(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_MARK}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def discard(path: Path) -> None:
    """Remove what was given up, as far as the disk lets it; `remove_leftovers` removes the rest."""
    with suppress(OSError):
        if path.is_symlink() or path.exists():
            disk.remove_tree(path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each flushed into the one above; one that is there is left alone."""
    with storage_errors(path):
        _make_folders(path)


def _make_folders(path: Path) -> None:
    if path.is_dir():
        return
    if path.parent != path:
        _make_folders(path.parent)
    try:
        disk.make_folder(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    disk.sync_path(path.parent)


def no_check() -> None:
    """Stand for what is asked before a commit where nobody asks."""


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that appears under `path` only when the block ends without an error.

    It is flushed first, and its owner asked (core.owners).
    """
    temporary = temporary_beside(path)
    with storage_errors(path):
        make_folder(path.parent)
        try:
            with disk.open_file(temporary, "xb") as file:
                yield file
                disk.sync(file)
            require_owner(path)
            disk.rename(temporary, path)
        except BaseException:
            discard(temporary)
            raise
        disk.sync_path(path.parent)


@contextmanager
def new_folder(
    path: Path,
    *,
    replace: bool = False,
    need_bytes: int | None = None,
) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` only when the block ends without an error.

    Everything in it is flushed first, and its owner asked. With `replace`, an existing folder at `path`
    is exchanged for the new one and then removed; without it an existing `path` is a StorageError, because nothing is
    written in place. `need_bytes` is what the folder needs, for the message of a full disk.
    """
    temporary = temporary_beside(path)
    with storage_errors(path, need_bytes):
        make_folder(path.parent)
        disk.make_folder(temporary)
        try:
            yield temporary
            _commit(temporary, path, replace=replace)
        finally:
            discard(temporary)


@contextmanager
def new_scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`, which must not exist, when the block ends without an error.

    Nothing is flushed: it is whole under its name as long as the machine runs, whatever happens to the process. What
    is found there later may have lost anything to a power cut, so it must be verified, and something to be made again.
    """
    temporary = temporary_beside(path)
    with storage_errors(path):
        make_folder(path.parent)
        disk.make_folder(temporary)
        try:
            yield temporary
            if path.exists():
                raise StorageError(f"{path} exists already and is never overwritten; move it away first")
            require_owner(path)
            disk.rename(temporary, path)
        finally:
            discard(temporary)


def _commit(temporary: Path, path: Path, *, replace: bool) -> None:
    for folder, _, names in os.walk(temporary):
        for name in names:
            disk.sync_path(Path(folder) / name)
        disk.sync_path(Path(folder))
    require_owner(path)
    _move_into_place(temporary, path, replace)


def _move_into_place(temporary: Path, path: Path, replace: bool) -> None:
    if not path.exists():
        disk.rename(temporary, path)
    elif replace:
        disk.exchange(temporary, path)
    else:
        raise StorageError(f"{path} exists already and is never overwritten; move it away first")
    disk.sync_path(path.parent)


def flush(paths: Iterable[Path]) -> None:
    """Flush files that this process wrote, down to the device."""
    for path in paths:
        disk.sync_path(path)


def commit_folder(folder: Path, path: Path) -> None:
    """Flush all that is in a folder and let it become `path`, which must not exist."""
    with storage_errors(path):
        _commit(folder, path, replace=False)


def create(path: Path) -> IO[bytes]:
    """Open a new binary file in a folder that `new_folder` yielded, which flushes it; an existing one is an error."""
    make_folder(path.parent)
    return disk.open_file(path, "x+b")


class DigestedFile(io.RawIOBase):
    """A new file in a folder that `new_folder` yielded, digested while it is written, so that no one reads it again.

    The digest is of what was meant to be written: a bit that the disk changed on the way is found by whoever reads it.
    """

    _file: IO[bytes] | None = None

    def __init__(self, path: Path) -> None:
        self._file = create(path)
        self._state = sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of `data`, which is bytes or a contiguous view of them."""
        assert self._file is not None
        num_bytes = memoryview(data).nbytes
        self._file.write(data)
        self._state.update(data)
        self.num_bytes += num_bytes
        return num_bytes

    @property
    def digest(self) -> str:
        return "sha256:" + self._state.hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says of a file: its size and its digest."""
        return {"bytes": self.num_bytes, "digest": self.digest}

    def close(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        finally:
            super().close()


def write_bytes(path: Path, data: bytes) -> None:
    with new_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, json_bytes(value))


def hand_over(path: Path, data: bytes) -> None:
    """Let a small file appear whole for another process that waits for it, and do nothing after that.

    It isn't flushed: it means nothing after a crash. Whoever finds it may take it, and the folder it lies in, away at
    once, so that anything done later would fail.
    """
    temporary = temporary_beside(path)
    with storage_errors(path):
        try:
            with disk.open_file(temporary, "xb") as file:
                file.write(data)
            disk.rename(temporary, path)
        except BaseException:
            discard(temporary)
            raise


def json_bytes(value: Any) -> bytes:
    """Return a JSON file's bytes, which the value alone decides."""
    return encoded(json.dumps(value, indent=1, ensure_ascii=False)) + b"\n"


def encoded(json_text: str) -> bytes:
    """Return a JSON text's bytes."""
    # half of a surrogate pair, as in the name of a file that isn't UTF-8, becomes its JSON escape
    return json_text.encode(errors="backslashreplace")


MAX_JSON_DEPTH = 100


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raise ValueError where that isn't JSON, or nested as no file of ours is."""
    return json_of(path.read_bytes())


def json_of(data: bytes) -> Any:
    """Return what a JSON file of these bytes holds; raise ValueError as `read_json` does."""
    try:
        value = json.loads(data.decode())
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    if _depth_exceeds(value, MAX_JSON_DEPTH):
        raise ValueError(f"brackets are nested more than {MAX_JSON_DEPTH} deep")
    return value


def read_json_or_none(path: Path) -> Any:
    """Return what is in a file that can be made again, or None where it is missing or damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [each for outer in level for each in _inner(outer)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder and flush both parents; `target` must not exist."""
    with storage_errors(target):
        if target.exists():
            raise StorageError(f"{target} exists already; {source} stays where it is")
        disk.rename(source, target)
        disk.sync_path(target.parent)


def share_file(source: Path, target: Path) -> None:
    """Give a file that is on disk a second name in a folder that `new_folder` yielded: should that be given up, the
    first stays. Where the file system has no second names the file is moved.
    """
    with storage_errors(target):
        make_folder(target.parent)
        disk.hard_link(source, target)


def link_folder(link: Path, folder: Path) -> None:
    """Make `link` lead to `folder`, relative to where it lies, so that both may be moved together."""
    if link.exists():
        return
    with storage_errors(link):
        disk.unlink(link)  # one that leads nowhere
        disk.link(link, os.path.relpath(folder.resolve(), link.parent.resolve()))
        disk.sync_path(link.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a crash leaves either all of it or nothing under its name."""
    if not path.exists():
        return
    trash = temporary_beside(path)
    with storage_errors(path):
        disk.rename(path, trash)
        disk.sync_path(path.parent)
    discard(trash)


def remove_file(path: Path) -> None:
    """Remove a file that may be missing; a crash leaves all of it or nothing."""
    with storage_errors(path):
        if path.exists():
            disk.unlink(path)
            disk.sync_path(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what an earlier, killed process left under temporary names in `folder`.

    Call it only while holding the lock of the folder: a live writer's temporary files have the same names.
    """
    with storage_errors(folder):
        for path in folder.glob(f"{TEMPORARY_MARK}*") if folder.is_dir() else []:
            disk.remove_tree(path)


def require_writable(folder: Path, need_bytes: int = 0) -> None:
    """Raise StorageError unless `folder` can be made and written and has `need_bytes` free."""
    probe = temporary_beside(folder / "write-test")  # a name that is tidied away should this process die
    with storage_errors(folder, need_bytes or None):
        make_folder(folder)
        try:
            write_bytes(probe, b"x")
        finally:
            discard(probe)
        free = shutil.disk_usage(folder).free
    if free < need_bytes:
        has, needs = megabytes(free, need_bytes)
        raise StorageError(
            f"{folder} has {has} MB free and this needs about {needs} MB; "
            "free some space or choose another output folder"
        )


def digest_bytes(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    with open(path, "rb") as file:
        return _digest(file)


def digest_file_on_disk(path: Path) -> str:
    """Return the digest of what the device holds, where the system lets go of what it has in memory of the file."""
    with open(path, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    state = sha256()
    while block := file.read(1 << 20):
        state.update(block)
    return "sha256:" + state.hexdigest()


def digest_json(value: Any) -> str:
    """Return the digest of a JSON value, the same whatever the order of its keys."""
    return digest_bytes(encoded(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))))


def stage_key(stage: str, version: int, settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """Return what decides a stage's output: the code's version of the stage, its settings, its inputs' digests."""
    return digest_json({"stage": stage, "version": version, "settings": settings, "inputs": inputs})


def read_manifest_or_none(folder: Path) -> dict[str, Any]:
    """Return the manifest of `folder`, or {} where it is missing or unreadable."""
    manifest = read_json_or_none(folder / "manifest.json")
    return manifest if isinstance(manifest, dict) else {}
