"""Which documents hold a text: the proof that something was, or was not, trained on.

There is no index, which would take several times the corpus: only the documents with its longest word are parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import DataError
from headwater.corpus.load import SPLITS, list_sources, whole_folder
from headwater.corpus.shards import parse_document, read_lines

CONTEXT_CHARACTERS = 80


@dataclass(frozen=True)
class Hit:
    """A document that holds a text: `count` occurrences that don't overlap, and an excerpt around the first."""

    split: str
    source: str
    id: str
    origin: str
    count: int
    excerpt: str


def trace(corpus_dir: Path, text: str, ignore_case: bool = False) -> Iterator[Hit]:
    """Yield a hit for every document of both splits in which `text` occurs, exactly but for white space.

    Any run of white space, line ends too, counts as one space; `ignore_case` compares letters as `re.IGNORECASE` does.
    Raises DataError for a text of white space alone.
    """
    wanted = fold(text)
    if not wanted:
        raise DataError('there is no text to find; `headwater corpus trace RUN "some words"` takes some')
    flags = re.IGNORECASE if ignore_case else 0
    exact = re.compile(re.escape(wanted), flags)
    longest = max(wanted.split(" "), key=len)
    likely = re.compile(re.escape(json.dumps(longest, ensure_ascii=False)[1:-1]), flags)  # as a shard has it
    for split in SPLITS:
        for source in list_sources(corpus_dir):
            for line in read_lines(whole_folder(corpus_dir, split, source)):
                if not likely.search(line.decode()):
                    continue
                document = parse_document(line)
                folded = fold(document.text)
                found = list(exact.finditer(folded))
                if found:
                    excerpt = _excerpt(folded, *found[0].span())
                    yield Hit(split, source, document.id, document.origin, len(found), excerpt)


def fold(text: str) -> str:
    return " ".join(text.split())


def _excerpt(folded: str, first: int, last: int) -> str:
    start, end = max(first - CONTEXT_CHARACTERS, 0), last + CONTEXT_CHARACTERS
    return ("…" if start else "") + folded[start:end] + ("…" if end < len(folded) else "")
