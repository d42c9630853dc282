"""Every durable write of the project: a file or folder under its final name is complete.

Commit protocol: write under a temporary name in the same folder, flush to disk, rename, flush the folder.
A folder is written under a temporary name with its manifest last, flushed, and renamed as a whole.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from headwater.errors import StorageError

TEMPORARY_MARK = ".tmp-"

_HINTS = {
    errno.ENOSPC: "free some space or choose another output folder",
    errno.EDQUOT: "the quota is used up; free some space or choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "this user may not write there; choose another output folder or change its permissions",
    errno.EPERM: "this user may not write there; choose another output folder or change its permissions",
    errno.ENOTDIR: "a part of that path is a file; choose another output folder",
    errno.EEXIST: "a part of that path is a file; choose another output folder",
    errno.EIO: "the device reported an input/output error; check the disk",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError from writing `path` into a StorageError that names the path, the free space and a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _HINTS or not _concerns(error, path):
            raise
        free = _free_bytes(path)
        space = "" if free is None else f" ({free / 1e6:.0f} MB free)"
        raise StorageError(f"can't write {path}: {error.strerror}{space}; {_HINTS[error.errno]}") from error


def _concerns(error: OSError, path: Path) -> bool:
    # an input that can't be read inside a writing block is not a fault of the output
    return (
        not isinstance(error.filename, str)
        or Path(error.filename).is_relative_to(path.parent)
        or path.is_relative_to(error.filename)
    )


def _free_bytes(path: Path) -> int | None:
    for folder in [path, *path.parents]:
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_MARK}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that appears under `path` only when the block ends without an error."""
    temporary = _temporary(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` only when the block ends without an error.

    Everything in it is flushed first. With `replace`, an existing folder at `path` is moved aside and removed
    after the rename; without it an existing `path` is a StorageError, because nothing is written in place.
    """
    temporary = _temporary(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _sync_file(Path(folder) / name)
                sync_folder(Path(folder))
            _move_into_place(temporary, path, replace)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def create(path: Path) -> IO[bytes]:
    """Open a new binary file in a folder that `new_folder` yielded, which flushes it; an existing one is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "x+b")


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _move_into_place(temporary: Path, path: Path, replace: bool) -> None:
    if path.exists() and not replace:
        raise StorageError(f"{path} exists already and is never overwritten; move it away first")
    aside = _temporary(path)
    if path.exists():
        os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        if aside.exists():
            os.rename(aside, path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    with new_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, _encoded(json.dumps(value, indent=1, ensure_ascii=False)) + b"\n")


def _encoded(json_text: str) -> bytes:
    # half of a surrogate pair, as in the name of a file that isn't UTF-8, becomes its JSON escape
    return json_text.encode(errors="backslashreplace")


MAX_JSON_DEPTH = 100


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raise ValueError where that isn't JSON, or nested as no file of ours is."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    if _depth_exceeds(value, MAX_JSON_DEPTH):
        raise ValueError(f"brackets are nested more than {MAX_JSON_DEPTH} deep")
    return value


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
        os.rename(source, target)
        sync_folder(target.parent)


def link_folder(link: Path, folder: Path) -> None:
    """Make `link` lead to `folder`, relative to where it lies, so that both may be moved together."""
    if link.exists():
        return
    with storage_errors(link):
        link.unlink(missing_ok=True)  # one that leads nowhere
        link.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()), target_is_directory=True)
        sync_folder(link.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a crash leaves either all of it or nothing under its name."""
    if not path.exists():
        return
    trash = _temporary(path)
    os.rename(path, trash)
    sync_folder(path.parent)
    shutil.rmtree(trash, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what an earlier, killed process left under temporary names in `folder`.

    Call it only while holding the lock of the folder: a live writer's temporary files look the same.
    """
    for path in folder.glob(f"{TEMPORARY_MARK}*") if folder.is_dir() else []:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def require_writable(folder: Path, need_bytes: int = 0) -> None:
    """Raise StorageError unless `folder` can be made and written and has `need_bytes` free."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".write-test", b"x")
        (folder / ".write-test").unlink()
        free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise StorageError(
            f"{folder} has {free / 1e6:.0f} MB free and this needs about {need_bytes / 1e6:.0f} MB; "
            "free some space or choose another output folder"
        )


class JsonLines:
    """An append-only file of JSON lines; a torn last line of an earlier crash is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # unbuffered, so that a line the disk refused isn't written again later
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            _cut_torn_line(path)

    def append(self, value: Any) -> None:
        """Write one line; raise StorageError, with no part of it left in the file, when the disk refuses."""
        rest = _encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + b"\n"
        with storage_errors(self.path):
            size_before = os.fstat(self._file.fileno()).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                os.ftruncate(self._file.fileno(), size_before)
                raise

    def sync(self) -> None:
        with storage_errors(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with open(path, "r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def digest_bytes(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def digest_json(value: Any) -> str:
    """Return the digest of a JSON value, the same whatever the order of its keys."""
    return digest_bytes(_encoded(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))))


def stage_key(stage: str, version: int, settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """Return what decides a stage's output: the code's version of the stage, its settings, its inputs' digests."""
    return digest_json({"stage": stage, "version": version, "settings": settings, "inputs": inputs})


def is_current(folder: Path, key: str) -> bool:
    """Return whether `folder` holds a complete stage made from exactly these settings and inputs."""
    return read_manifest_or_none(folder).get("key") == key


def read_manifest_or_none(folder: Path) -> dict[str, Any]:
    """Return the manifest of `folder`, or {} where it is missing or unreadable."""
    try:
        manifest = read_json(folder / "manifest.json")
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def read_manifest(
    folder: Path, format_name: str, format_version: int, error: Callable[[str], Exception]
) -> dict[str, Any]:
    """Return the manifest of `folder`, checked for its format; raise `error` with what to do otherwise."""
    manifest = read_manifest_or_none(folder)
    if manifest.get("format") != format_name:
        raise error(f"{folder} is not a {format_name} folder: no readable manifest.json of that format in it")
    if manifest.get("format_version") != format_version:
        raise error(
            f"{folder} has {format_name} version {manifest.get('format_version')}; this headwater reads version "
            f"{format_version}; build it again or use the headwater that wrote it"
        )
    return manifest
