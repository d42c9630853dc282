"""Files of JSON lines that grow line by line and are never left with half a line that counts."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from headwater.core import disk
from headwater.core.errors import storage_errors
from headwater.core.files import encoded, make_folder


class JsonLines:
    """An append-only file of JSON lines; a torn last line of an earlier crash is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            make_folder(path.parent)
            is_new = not path.exists()
            # unbuffered, so that a line the disk refused isn't written again later
            self._file = disk.open_unbuffered(path, "ab")
            self._torn_at: int | None = None
            try:
                if is_new:
                    disk.sync_path(path.parent)
                _cut_torn_line(self._file, path)
            except OSError:
                self._file.close()
                raise

    def append(self, value: Any) -> None:
        """Write one line; raise StorageError, with no part of it left in the file, when the disk refuses."""
        line = encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + b"\n"
        with storage_errors(self.path):
            if self._torn_at is not None:
                self._cut()
            size_before = os.fstat(self._file.fileno()).st_size
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._torn_at = size_before
                self._cut()
                raise

    def _cut(self) -> None:
        """Be rid of what the disk took of a line before it refused the rest; if it refuses, the next append tries."""
        self._file.truncate(self._torn_at)
        self._torn_at = None

    def sync(self) -> None:
        with storage_errors(self.path):
            disk.sync(self._file)

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self.sync()  # what a finished run says last would otherwise be lost to a power cut
        finally:
            self._file.close()


def _cut_torn_line(file: io.FileIO, path: Path) -> None:
    data = path.read_bytes()
    size = data.rfind(b"\n") + 1
    if size != len(data):
        file.truncate(size)
