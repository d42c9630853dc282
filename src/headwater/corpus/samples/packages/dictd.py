"""Dictionaries as articles of many entries: WordNet, and those of the DICT protocol (NAME.dict.dz by NAME.index)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, articles, damaged

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


def read_dictd(path: Path, origin: str) -> Iterator[SampleText]:
    """Yield the entries in the order of the dictionary, about 8,000 characters of them a text.

    The dictionary's notes on itself (headwords that begin with 00) are skipped. Raises DataError for a damage.
    """
    index = path.with_name(path.name.removesuffix(".dz").removesuffix(".dict") + ".index")
    try:
        places = _places(index.read_text(encoding="utf-8", errors="replace"))
        with gzip.open(path, "rb") as stream:  # .dz is gzip with an index of its own in the header
            data = stream.read()
    except (OSError, EOFError, zlib.error, KeyError) as error:
        raise damaged(origin, error) from error
    found = (data[start : start + length].decode("utf-8", "replace").strip("\n") for start, length in places)
    for number, marked in enumerate(articles(("", entry) for entry in found)):
        entries = [entry.replace("{", "").replace("}", "") for entry in marked]  # braces mark references to others
        first, last = (entry.split("\n")[0].strip() for entry in (entries[0], entries[-1]))
        yield SampleText("\n\n".join(entries), f"{origin}#{number}", origin, {"title": f"{first} to {last}"})


def _places(index: str) -> list[tuple[int, int]]:
    """Return where entries are, each once: several headwords may lead to one."""
    rows = (line.split("\t") for line in index.splitlines() if not line.startswith("00"))
    return sorted({(_number(row[1]), _number(row[2])) for row in rows if len(row) > 2})


def _number(text: str) -> int:
    return sum(_VALUES[digit] * 64**place for place, digit in enumerate(reversed(text)))


def read_wordnet(path: Path, origin: str) -> Iterator[SampleText]:
    """Yield the synsets in order, which goes by subject (animals, feelings), about 8,000 characters a text.

    Raises DataError for a damage.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    try:
        synsets = [
            _synset(line) for line in lines if line and not line.startswith("  ")
        ]  # that is the licence, before the first
    except (ValueError, IndexError, KeyError) as error:
        raise damaged(origin, error) from error
    for number, found in enumerate(articles(synsets)):
        first, last = (line.split(" (")[0] for line in (found[0], found[-1]))
        yield SampleText("\n".join(found), f"{origin}#{number}", origin, {"title": f"{first} to {last}"})


def _synset(line: str) -> tuple[str, str]:
    """Return the number of a synset's subject and the synset as a line: its words, what they are, its definition."""
    data, _, gloss = line.partition(" | ")
    _, subject, part, count, *rest = data.split(" ")
    words = [_word(rest[2 * at]) for at in range(int(count, 16))]
    return subject, f"{', '.join(words)} ({_PARTS[part]}): {gloss.strip()}"


def _word(spelled: str) -> str:
    # adjectives may say where they stand: "galore(ip)"
    return spelled.split("(")[0].replace("_", " ")
