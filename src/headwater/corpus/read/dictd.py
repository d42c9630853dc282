"""Dictionaries of the DICT protocol (NAME.dict.dz beside NAME.index), as articles of many entries."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.json import read_whole
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable
from headwater.corpus.read.sections import articles

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_BLOCK_BYTES = 1 << 20
_MAX_DIGITS = 10  # of a place in a file: 60 bits


def read_dictd(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the entries in the order of the dictionary, about 8,000 characters of them a document.

    The dictionary's notes on itself (headwords that begin with 00) are skipped. Raises Unusable: damaged_dictionary,
    file_too_large, expands_too_far.
    """
    index = file.path.with_name(file.path.name.removesuffix(".dz").removesuffix(".dict") + ".index")
    if not index.is_file():
        raise Unusable("damaged_dictionary")
    places = _places(read_whole(replace(file, path=index), limits.max_file_bytes).decode("utf-8", "replace"))
    data = _unzipped(file, limits.max_file_bytes)
    for number, marked in enumerate(articles(("", entry) for entry in _entries(data, places))):
        entries = list(map(plain_entry, marked))
        first, last = (entry.split("\n")[0].strip() for entry in (entries[0], entries[-1]))
        yield file.document("\n\n".join(entries), f"#{number}", title=f"{first} to {last}")


def _entries(data: bytes, places: list[tuple[int, int]]) -> Iterator[str]:
    expansion = Expansion()
    for start, length in places:
        entry = data[start : start + length]
        expansion.add_(len(entry), len(data))  # entries may lie over one another
        yield entry.decode("utf-8", "replace").strip("\n")


def plain_entry(text: str) -> str:
    """Return an entry without the braces that mark its references to others."""
    return text.replace("{", "").replace("}", "")


def _places(index: str) -> list[tuple[int, int]]:
    """Return where entries are, each once: several headwords may lead to one."""
    places = set()
    for line in index.splitlines():
        headword, *numbers = line.split("\t")
        if headword.startswith("00") or len(numbers) < 2:
            continue
        try:
            places.add((_number(numbers[0]), _number(numbers[1])))
        except KeyError:
            raise Unusable("damaged_dictionary") from None
    return sorted(places)


def _number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise Unusable("damaged_dictionary")
    value = 0
    for digit in text:
        value = value * 64 + _VALUES[digit]
    return value


def _unzipped(file: InputFile, max_bytes: int) -> bytes:
    """Return the whole dictionary: .dz is gzip with an index of its own in the header."""
    expansion, parts, size = Expansion(), list[bytes](), 0
    try:
        with file.open() as packed, gzip.open(packed, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                expansion.add_(len(block), file.num_bytes)
                parts.append(block)
                size += len(block)
                if size > max_bytes:
                    raise Unusable("file_too_large")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unusable("damaged_dictionary") from error
    return b"".join(parts)
