"""What a fuzzer needs to know of a parser."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.corpus.read.input import InputFile, Stream
from headwater.corpus.read.limits import ReadLimits

LIMITS = ReadLimits(max_document_characters=2000, max_line_bytes=2000, max_file_bytes=4000)


@dataclass(frozen=True)
class Target:
    """`try_one` takes bytes and a folder for files; it raises what its parser must not raise, or a failed assert."""

    name: str
    seeds: Callable[[], tuple[bytes, ...]]
    try_one: Callable[[bytes, Path], None]
    words: tuple[bytes, ...] = ()
    "What the fuzzer may put in: the words of the format."
    max_bytes: int = 4096
    "Of one input: long enough for all that the parser distinguishes, short for speed."


class InMemory(InputFile):
    """A file of a source whose bytes are here: the fuzzer tries some thousand a second."""

    __slots__ = ("data",)

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(Path(name), name, "mine", "text")
        object.__setattr__(self, "data", data)

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[Stream]:
        yield io.BytesIO(self.data)
