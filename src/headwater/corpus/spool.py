"""Kept documents between the sieve and the split: in a file that goes away, so that memory holds only places in it."""

from __future__ import annotations

from array import array
from pathlib import Path
from types import TracebackType

from headwater.corpus.document import Document
from headwater.corpus.shards import document_line, parse_document
from headwater.files import create, remove_file


class Spool:
    """Numbered documents in an uncompressed file; it needs as much disk as the text while a corpus is built."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = create(path)
        self._starts = array("Q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add_(self, document: Document) -> int:
        """Append a document and return its number."""
        line = document_line(document)
        self._file.seek(self._starts[-1])
        self._file.write(line)
        self._starts.append(self._starts[-1] + len(line))
        return len(self) - 1

    def line(self, number: int) -> bytes:
        self._file.seek(self._starts[number])
        return self._file.read(self._starts[number + 1] - self._starts[number])

    def document(self, number: int) -> Document:
        return parse_document(self.line(number))

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        remove_file(self._path)
