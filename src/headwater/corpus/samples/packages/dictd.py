"""Dictionaries as articles of many entries: WordNet, and those of the DICT protocol (NAME.dict.dz by NAME.index)."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, Unreadable, articles, check_expansion, read_bytes

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_MAX_DIGITS = 10  # of a place in a file: 60 bits
_PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


def read_dictd(path: Path, origin: str, max_bytes: int) -> Iterator[SampleText]:
    """Yield the entries in the order of the dictionary, about 8,000 characters of them a text.

    The dictionary's notes on itself (headwords that begin with 00) are skipped. Raises Unreadable: damaged_dictionary,
    file_too_large, expands_too_far.
    """
    index = path.with_name(path.name.removesuffix(".dz").removesuffix(".dict") + ".index")
    if not index.is_file():
        raise Unreadable("damaged_dictionary")
    places = _places(read_bytes(index, max_bytes).decode("utf-8", "replace"))
    data = _unzipped(path, max_bytes)
    for number, marked in enumerate(articles(("", entry) for entry in _entries(data, places))):
        entries = [entry.replace("{", "").replace("}", "") for entry in marked]  # braces mark references to others
        first, last = (entry.split("\n")[0].strip() for entry in (entries[0], entries[-1]))
        yield SampleText("\n\n".join(entries), f"{origin}#{number}", origin, {"title": f"{first} to {last}"})


def _entries(data: bytes, places: list[tuple[int, int]]) -> Iterator[str]:
    num_bytes = 0
    for start, length in places:
        entry = data[start : start + length]
        num_bytes += len(entry)
        check_expansion(num_bytes, len(data))  # entries may lie over one another
        yield entry.decode("utf-8", "replace").strip("\n")


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
            raise Unreadable("damaged_dictionary") from None
    return sorted(places)


def _number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise Unreadable("damaged_dictionary")
    value = 0
    for digit in text:
        value = value * 64 + _VALUES[digit]
    return value


def _unzipped(path: Path, max_bytes: int) -> bytes:
    """Return the whole dictionary: .dz is gzip with an index of its own in the header."""
    try:
        with gzip.open(path, "rb") as stream:
            data = stream.read(max_bytes + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable("damaged_dictionary") from error
    check_expansion(len(data), path.stat().st_size)
    if len(data) > max_bytes:
        raise Unreadable("file_too_large")
    return data


def read_wordnet(path: Path, origin: str, max_bytes: int) -> Iterator[SampleText]:
    """Yield the synsets in order, which goes by subject (animals, feelings), about 8,000 characters a text.

    Raises Unreadable: damaged_wordnet, file_too_large.
    """
    data = io.StringIO(read_bytes(path, max_bytes).decode("utf-8", "replace"), newline=None)
    synsets = (_synset(line) for line in data if not line.startswith("  "))  # that is the licence, before the first
    for number, lines in enumerate(articles(synsets)):
        first, last = (line.split(" (")[0] for line in (lines[0], lines[-1]))
        yield SampleText("\n".join(lines), f"{origin}#{number}", origin, {"title": f"{first} to {last}"})


def _synset(line: str) -> tuple[str, str]:
    """Return the number of a synset's subject and the synset as a line: its words, what they are, its definition."""
    data, _, gloss = line.partition(" | ")
    try:
        _, subject, part, count, *rest = data.split(" ")
        words = [_word(rest[2 * at]) for at in range(int(count, 16))]
        return subject, f"{', '.join(words)} ({_PARTS[part]}): {gloss.strip()}"
    except (ValueError, IndexError, KeyError):
        raise Unreadable("damaged_wordnet") from None


def _word(spelled: str) -> str:
    # adjectives may say where they stand: "galore(ip)"
    return spelled.split("(")[0].replace("_", " ")
