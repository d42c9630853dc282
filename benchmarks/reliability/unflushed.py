"""A disk that forgets: what a power cut may leave of a list of operations.

A file keeps what was flushed of it; a folder keeps the names that were flushed in it. Of all else any part may have
reached the device, in any order: a write whole, in half, as zeros or not at all; a name new, old or gone. A rename
within a folder is one change, one from folder to folder two. That is more than usual file systems lose, and what their
promises allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

KEPT, HALVED, ZEROED = 0.5, 0.65, 0.8  # chances of a write that wasn't flushed: whole below the first, and so on


@dataclass
class File:
    flushed: bytes = b""
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)  # (place, bytes), or (size, None) for a cut

    def flush(self) -> None:
        self.flushed = self.now()
        self.waiting.clear()

    def now(self) -> bytes:
        return _applied(self.flushed, self.waiting)

    def after_a_cut(self, chance: Random) -> bytes:
        return _applied(self.flushed, [left for change in self.waiting for left in _surviving(change, chance)])


def _applied(data: bytes, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
    for at, written in changes:
        if written is None:
            data = data[:at].ljust(at, b"\0")
        else:
            data = data[:at].ljust(at, b"\0") + written + data[at + len(written) :]
    return data


def _surviving(change: tuple[int, bytes | None], chance: Random) -> list[tuple[int, bytes | None]]:
    at, written = change
    drawn = chance.random()
    if drawn < KEPT:
        return [change]
    if written is None or drawn >= ZEROED:
        return []
    return [(at, written[: len(written) // 2] if drawn < HALVED else bytes(len(written)))]


@dataclass
class Folder:
    """`waiting` holds changes of names, each of one or two names that change together: what they lead to, or None."""

    flushed: dict[str, Any] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def flush(self) -> None:
        self.flushed = self.now()
        self.waiting.clear()

    def now(self) -> dict[str, Any]:
        return self._with(self.waiting)

    def after_a_cut(self, chance: Random) -> dict[str, Any]:
        return self._with([change for change in self.waiting if chance.random() < KEPT])

    def _with(self, changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
        names = dict(self.flushed)
        for change in changes:
            names |= change
        return {name: inner for name, inner in names.items() if inner is not None}


class ForgetfulDisk:
    """The folder `root` as it is now, all of it flushed; operations change it until the power is cut."""

    def __init__(self, root: Path) -> None:
        self._root_path = root
        self._root = _read(root)

    def do(self, operation: Sequence[Any]) -> None:
        """Do one operation of a FaultPlan's journal; one outside the root is nothing to this disk."""
        kind, path, *details = operation
        if Path(path).is_relative_to(self._root_path):
            getattr(self, f"_{kind}")(Path(path), *details)

    def cut(self, chance: Random, target: Path) -> None:
        """Write what a power cut at this moment may leave into the folder `target`."""
        _write(self._root, target, chance)

    def _folder(self, path: Path) -> Folder:
        found = self._find(path)
        assert isinstance(found, Folder), path
        return found

    def _find(self, path: Path) -> Any:
        found: Any = self._root
        for name in path.relative_to(self._root_path).parts:
            found = found.now().get(name) if isinstance(found, Folder) else None
        return found

    def _name(self, path: Path, inner: Any) -> None:
        self._folder(path.parent).waiting.append({path.name: inner})

    def _open(self, path: Path) -> None:
        if self._find(path) is None:
            self._name(path, File())

    def _write(self, path: Path, at: int, data: bytes) -> None:
        self._find(path).waiting.append((at, data))

    def _truncate(self, path: Path, size: int) -> None:
        self._find(path).waiting.append((size, None))

    def _sync(self, path: Path) -> None:
        self._find(path).flush()

    def _mkdir(self, path: Path) -> None:
        self._name(path, Folder())

    def _symlink(self, path: Path, target: str) -> None:
        self._name(path, target)

    def _rename(self, source: Path, target: str) -> None:
        inner = self._find(source)
        if source.parent == Path(target).parent:
            self._folder(source.parent).waiting.append({source.name: None, Path(target).name: inner})
        else:
            self._name(Path(target), inner)
            self._name(source, None)

    def _hardlink(self, source: Path, target: str) -> None:
        self._name(Path(target), self._find(source))

    def _exchange(self, first: Path, second: str) -> None:
        names = {first.name: self._find(Path(second)), Path(second).name: self._find(first)}
        self._folder(first.parent).waiting.append(names)

    def _unlink(self, path: Path) -> None:
        self._name(path, None)

    def _rmdir(self, path: Path) -> None:
        self._name(path, None)


def _read(path: Path) -> Any:
    if path.is_symlink():
        return str(path.readlink())
    if path.is_dir():
        return Folder({inner.name: _read(inner) for inner in path.iterdir()})
    return File(path.read_bytes())


def _write(found: Any, path: Path, chance: Random) -> None:
    if isinstance(found, Folder):
        path.mkdir()
        for name, inner in sorted(found.after_a_cut(chance).items()):
            _write(inner, path / name, chance)
    elif isinstance(found, File):
        path.write_bytes(found.after_a_cut(chance))
    else:
        path.symlink_to(found)
