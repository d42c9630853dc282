"""Every error that headwater raises on purpose; and what the disk refused, with path, space and a remedy."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HeadwaterError(Exception):
    """Something the user can act on: the message says what is wrong, what was found and what to do. No traceback."""

    exit_status = 1


class ConfigError(HeadwaterError):
    """A setting is wrong, missing or unknown."""

    exit_status = 2


class LayoutError(ConfigError):
    """The ranks of a run can't lie as they should: all of them find the same, and the first one says it."""


class DataError(HeadwaterError):
    """An input holds nothing usable, or is not what its name says."""


class PassingError(DataError):
    """A network or a store is away: what failed may succeed later, and is worth another try."""


class TokenizerError(HeadwaterError):
    """A tokenizer can't be trained or loaded."""


class StoreError(HeadwaterError):
    """A token store is damaged or doesn't fit its tokenizer."""


class CheckpointError(HeadwaterError):
    """No checkpoint can be used, or one is damaged."""


class LockedError(HeadwaterError):
    """Another process owns this folder."""


class StorageError(HeadwaterError):
    """The disk refused a write: full, read-only, no permission."""


class EvaluationError(HeadwaterError):
    """There is nothing to score."""


class ExportError(HeadwaterError):
    """The model can't be written in that format."""


class TrainingError(HeadwaterError):
    """Training can't continue: no finite step, for instance, or a log that is damaged."""


class LostRanksError(TrainingError):
    """Other ranks of the run have ended, or are out of reach; the reason is theirs."""


TEMPORARY_MARK = ".tmp-"
_TEMPORARY = re.compile(rf"^{re.escape(TEMPORARY_MARK)}(.+)-\d+-[0-9a-f]{{8}}$")

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
def storage_errors(path: Path, need_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError from writing `path` into a StorageError that names path, space free and needed, and a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _HINTS or not _concerns(error, path):
            raise
        known = {"free": free_bytes(path), "needed": need_bytes}
        sizes = {name: size for name, size in known.items() if size is not None}
        space = [f"{text} MB {name}" for name, text in zip(sizes, megabytes(*sizes.values()), strict=True)]
        named = f" ({', '.join(space)})" if space else ""
        raise StorageError(f"can't write {_final(path)}: {error.strerror}{named}; {_HINTS[error.errno]}") from error


def megabytes(*sizes: int) -> list[str]:
    """Return numbers of bytes in MB, with as few decimals as tell apart what differs and leave nothing 0 that isn't."""
    for decimals in range(6):
        texts = [f"{size / 1e6:.{decimals}f}" for size in sizes]
        if len({0.0, *map(float, texts)}) == len({0, *sizes}):
            return texts
    return [f"{size / 1e6:.6f}" for size in sizes]


def _final(path: Path) -> Path:
    """Return the name that a file or folder is written for, without the temporary names in it."""
    return Path(*(_TEMPORARY.sub(r"\1", part) for part in path.parts))


def _concerns(error: OSError, path: Path) -> bool:
    # an input that can't be read inside a writing block is not a fault of the output
    return (
        not isinstance(error.filename, str)
        or Path(error.filename).is_relative_to(path.parent)
        or path.is_relative_to(error.filename)
    )


def free_bytes(path: Path) -> int | None:
    """Return the room on the disk that `path` is, or would be, on."""
    for folder in [path, *path.parents]:
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None
