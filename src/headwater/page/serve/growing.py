"""The file of a run's records while a process adds to it: what is new, and whether it is still the same file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import BinaryIO

from headwater.core.records import Record, amount

CHUNK_BYTES = 1 << 24
"Read at once; a longer line is none that headwater wrote, and is skipped."
SEEN_BYTES = 64
"Of the end of what was read, by which a file is known again."
MAX_STEP = 2**53


class GrowingFile:
    """Where reading a file ended; a line counts once it has its end."""

    def __init__(self) -> None:
        self.offset, self._inode, self._seen = 0, -1, b""

    def is_continued(self, file: BinaryIO) -> bool:
        """Return whether this is the file that was read, and holds still, where reading ended, what was read there."""
        status = os.fstat(file.fileno())
        if status.st_ino != self._inode or status.st_size < self.offset:
            return False
        file.seek(self.offset - len(self._seen))
        return file.read(len(self._seen)) == self._seen

    def records(self, file: BinaryIO, first: int | None = None) -> Iterator[Record]:
        """Yield the records from where reading ended, or from the byte `first` on."""
        self._inode = os.fstat(file.fileno()).st_ino
        if first is not None:
            self.offset, self._seen = first, b""
        file.seek(self.offset)
        while chunk := file.read(CHUNK_BYTES):
            # the last line may still be being written; one without an end within a chunk is skipped
            end = chunk.rfind(b"\n") + 1 or (len(chunk) if len(chunk) == CHUNK_BYTES else 0)
            if not end:
                return
            self.offset += end
            self._seen = chunk[max(0, end - SEEN_BYTES) : end]
            yield from filter(None, map(parsed, chunk[:end].split(b"\n")))
            file.seek(self.offset)


def parsed(line: bytes) -> Record | None:
    """Return the record of a line; None of a torn line, and of what is no record with an event and a step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_event = isinstance(record, dict) and isinstance(record.get("event"), str)
    return record if is_event and 0 <= (-1 if (step := amount(record, "step")) is None else step) < MAX_STEP else None
