"""Dictionaries of the DICT protocol (NAME.dict.dz beside NAME.index), as articles of many entries."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, Unusable

ARTICLE_CHARACTERS = 8000
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_BLOCK_BYTES = 1 << 20


def read_dictd(file: InputFile) -> Iterator[Document]:
    """Yield the entries in the order of the dictionary, about 8,000 characters of them a document.

    An entry is a line or two: alone it would be a document too short to learn from. The dictionary's notes on itself
    (headwords that begin with 00) are left out. Raises Unusable: damaged_dictionary, expands_too_far.
    """
    index = file.path.with_name(file.path.name.removesuffix(".dz").removesuffix(".dict") + ".index")
    if not index.is_file():
        raise Unusable("damaged_dictionary")
    data = _unzipped(file)
    entries: list[str] = []
    number = size = 0
    for start, length in _places(index.read_text(encoding="utf-8", errors="replace")):
        text = data[start : start + length].decode("utf-8", "replace").strip("\n")
        entries.append(plain_entry(text))
        size += len(text)
        if size >= ARTICLE_CHARACTERS:
            yield _article(file, number, entries)
            entries, size, number = [], 0, number + 1
    if entries:
        yield _article(file, number, entries)


def _article(file: InputFile, number: int, entries: list[str]) -> Document:
    first, last = (entry.split("\n")[0].strip() for entry in (entries[0], entries[-1]))
    return file.document("\n\n".join(entries), f"#{number}", title=f"{first} to {last}")


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
    value = 0
    for digit in text:
        value = value * 64 + _VALUES[digit]
    return value


def _unzipped(file: InputFile) -> bytes:
    """Return the whole dictionary: .dz is gzip with an index of its own in the header."""
    expansion, parts = Expansion(), []
    try:
        with gzip.open(file.path, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                expansion.add_(len(block), file.num_bytes)
                parts.append(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unusable("damaged_dictionary") from error
    return b"".join(parts)
