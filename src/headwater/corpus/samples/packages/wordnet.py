"""WordNet's data files (wndb(5WN)): every synset's words with their definition and examples, as articles of many."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, Unreadable, articles, read_bytes

_PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


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
