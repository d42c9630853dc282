"""Where the outputs of tasks are kept (core.task_output): in a folder that all processes see, or in a store.

Both are asked by the paths that outputs have in the folder. In a store they have the same names, and an output is there
when its task.json is, which is sent last. What is read of it is fetched into the folder, which is then a process's own.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import IO
from weakref import finalize

from headwater.core.errors import TEMPORARY_MARK, DataError, StorageError
from headwater.core.files import (
    digest_json,
    discard,
    hand_over,
    json_of,
    make_folder,
    move_folder,
    remove_folder,
    remove_leftovers,
    share_file,
)
from headwater.core.stores import Store, each_of
from headwater.core.task_output import (
    TASK_FILE,
    OutputKind,
    TaskOutput,
    is_whole,
    new_output,
    read_output,
    remove_short,
)

_OWN = "headwater-work-"  # what temporary folders of processes that work with a store are called
_MANY = 8  # outputs of a folder: more are looked for by a list of it


class TaskFolder:
    """Outputs in a folder that all processes see."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def address_of(self, folder: Path) -> str:
        """Return what tells another process where a folder is."""
        return str(folder.absolute())

    def tidy(self, folders: Iterable[Path]) -> None:
        """Remove what killed processes and power cuts left in folders of outputs; call it when no other works here."""
        remove_leftovers(self.top)
        for folder in folders:
            remove_short(folder)

    def done(self, folders: Iterable[Path]) -> set[Path]:
        """Return those that are outputs."""
        return {folder for folder in folders if folder.is_dir()}

    def is_whole(self, folder: Path) -> bool:
        """Return whether a folder is an output as it was written."""
        return is_whole(folder)

    @contextmanager
    def new(self, folder: Path, kind: type[OutputKind]) -> Iterator[OutputKind]:
        """Yield an output that is kept as `folder` when the block ends without an error.

        Where another process was faster, its output stays: both are the same.
        """
        is_complete = False
        try:
            with new_output(folder, kind) as output:
                yield output
                is_complete = True
        except (StorageError, OSError):
            if not (is_complete and folder.is_dir()):
                raise

    def output(self, folder: Path) -> TaskOutput:
        """Return an output; raise DataError where there is none."""
        return read_output(folder)

    def fetch(self, files: Iterable[tuple[Path, str]]) -> None:
        """Have files of outputs, or their task.json, in the folder."""

    def open(self, folder: Path, name: str) -> Path | IO[bytes]:
        """Return a file of an output, of which a little is read, by its path or opened."""
        return folder / name

    def open_whole(self, folder: Path, name: str) -> Path | IO[bytes]:
        return folder / name

    def outputs_in(self, folder: Path) -> list[Path]:
        """Return the folders in a folder, of outputs or of more of them."""
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def remove(self, folder: Path) -> None:
        remove_folder(folder)

    def read_log(self, path: Path) -> str:
        """Return what another process said, "" where it said nothing."""
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def share(self, files: Mapping[str, Path], folder: Path, name: str) -> Store | None:
        """Give files of outputs second names in a folder that `new_folder` yielded.

        Those in a store get them beside the work, in a folder of that name, which is returned as a store.
        """
        for file, path in files.items():
            share_file(path, folder / file)
        return None


class TaskStore(TaskFolder):
    """Outputs in a folder `inside` of a store. `top` is this process's own, by default a temporary one, gone with this.

    `setting` is what gave the address, for messages.
    """

    def __init__(self, address: str, inside: str, setting: str, top: Path | None = None) -> None:
        if top is None:
            top, lock = _own_folder()
            finalize(self, _remove_own, top, lock)
        super().__init__(top)
        self.store, self._inside, self._setting = Store(address, setting), inside, setting

    def _name(self, path: Path) -> str:
        return "/".join((self._inside, *path.relative_to(self.top).parts))

    def address_of(self, folder: Path) -> str:
        return f"{self.store.address}/{self._name(folder)}"

    def done(self, folders: Iterable[Path]) -> set[Path]:
        found = set[Path]()
        for parent, group in groupby(sorted(folders), lambda folder: folder.parent):
            wanted = list(group)
            if len(wanted) <= _MANY:
                found |= {folder for folder in wanted if self.store.has(f"{self._name(folder)}/{TASK_FILE}")}
            else:
                names = {name for name in self.store.names(self._name(parent)) if name.endswith(f"/{TASK_FILE}")}
                found |= {folder for folder in wanted if f"{self._name(folder)}/{TASK_FILE}" in names}
        return found

    def is_whole(self, folder: Path) -> bool:
        return bool(self.done([folder]))  # whoever fetches a file compares its digest

    @contextmanager
    def new(self, folder: Path, kind: type[OutputKind]) -> Iterator[OutputKind]:
        with self._scratch() as scratch:
            made = scratch / "output"
            with new_output(made, kind) as output:
                yield output
            each_of(output.digests, lambda name: self.store.put(made / name, f"{self._name(folder)}/{name}"))
            self.store.put(made / TASK_FILE, f"{self._name(folder)}/{TASK_FILE}")
        discard(folder)  # what was fetched of an earlier one

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        make_folder(self.top)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_MARK, dir=self.top, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)

    def output(self, folder: Path) -> TaskOutput:
        if not (folder / TASK_FILE).is_file():
            data = self.store.read(f"{self._name(folder)}/{TASK_FILE}")
            try:
                made = json_of(data)
                is_whole = made.pop("digest") == digest_json(made)
            except (ValueError, LookupError, AttributeError, TypeError):
                is_whole = False
            if not is_whole:
                raise DataError(f"{self.address_of(folder)} is no finished task; remove it and give the command again")
            make_folder(folder)
            hand_over(folder / TASK_FILE, data)
        return read_output(folder)

    def fetch(self, files: Iterable[tuple[Path, str]]) -> None:
        each_of(files, lambda file: self._fetch(*file))

    def _fetch(self, folder: Path, name: str) -> None:
        output = self.output(folder)
        if name != TASK_FILE and not (folder / name).is_file():
            make_folder((folder / name).parent)
            hand_over(folder / name, self.store.read_whole(f"{self._name(folder)}/{name}", output.digests[name]))

    def open(self, folder: Path, name: str) -> Path | IO[bytes]:
        size = self.output(folder).sizes[name]
        return self.store.open_ranges(f"{self._name(folder)}/{name}", size)

    def open_whole(self, folder: Path, name: str) -> Path | IO[bytes]:
        return self.store.open_whole(f"{self._name(folder)}/{name}", self.output(folder).digests[name], self.top)

    def outputs_in(self, folder: Path) -> list[Path]:
        top = self._name(folder)
        names = {name.removeprefix(f"{top}/").split("/")[0] for name in self.store.names(top)}
        return [folder / name for name in sorted(names)]

    def remove(self, folder: Path) -> None:
        names = self.store.names(self._name(folder))
        each_of([name for name in names if name.endswith(TASK_FILE)], self.store.remove)  # what is left is no output
        each_of([name for name in names if not name.endswith(TASK_FILE)], self.store.remove)
        discard(folder)

    def read_log(self, path: Path) -> str:
        name = self._name(path)
        return self.store.read(name).decode(errors="replace") if self.store.has(name) else ""

    def share(self, files: Mapping[str, Path], folder: Path, name: str) -> Store | None:
        each_of(files, lambda file: self.store.copy(self._name(files[file]), f"{name}/{file}"))
        return Store(f"{self.store.address}/{name}", self._setting)


def _own_folder() -> tuple[Path, int]:
    """Return a new temporary folder and its lock, which the process holds; those of processes that are gone go, too."""
    for other in Path(tempfile.gettempdir()).glob(f"{_OWN}*"):
        with suppress(OSError):
            _remove_own(other, _lock(other))
    folder = Path(tempfile.mkdtemp(prefix="headwater-"))
    lock = _lock(folder)
    own = folder.with_name(f"{_OWN}{folder.name}")
    move_folder(folder, own)  # to a name that others look for once it is locked
    return own, lock


def _lock(folder: Path) -> int:
    """Lock a folder as long as what is returned is open; raise OSError where another process has."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _remove_own(folder: Path, lock: int) -> None:
    discard(folder)
    os.close(lock)
