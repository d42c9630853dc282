"""Which documents hold a text: the proof that something was, or was not, trained on.

There is no index. A pattern goes over the shards' bytes as they come out of the decompressor, which is about as fast
as that; only lines in which it matches are parsed. An index of n-grams would take several times the corpus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headwater.corpus.load import SPLITS, list_sources, whole_folder
from headwater.corpus.shards import parse_document, read_blocks
from headwater.errors import DataError

CONTEXT_CHARACTERS = 80
# white space as str.split knows it, in UTF-8 or escaped in JSON
_SPACES = [
    b" ", rb"\\[tnrf]", rb"\\u00(?:0b|1[c-f])", b"\xc2[\x85\xa0]", b"\xe1\x9a\x80", b"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]",
    b"\xe2\x81\x9f", b"\xe3\x80\x80",
]  # fmt: skip


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
        raise DataError('there is no text to find; `headwater corpus trace "some words"` takes some')
    exact = re.compile(re.escape(wanted), re.IGNORECASE if ignore_case else 0)
    for split in SPLITS:
        for source in list_sources(corpus_dir):
            blocks = read_blocks(whole_folder(corpus_dir, split, source))
            for line in _likely_lines_of_any_case(blocks, wanted) if ignore_case else _likely_lines(blocks, wanted):
                document = parse_document(line)
                folded = fold(document.text)
                found = list(exact.finditer(folded))
                if found:
                    excerpt = _excerpt(folded, *found[0].span())
                    yield Hit(split, source, document.id, document.origin, len(found), excerpt)


def _pattern(wanted: str) -> re.Pattern[bytes]:
    """Return how the folded text is written in a line of JSON, with any white space between its words."""
    words = [json.dumps(word, ensure_ascii=False)[1:-1].encode() for word in wanted.split(" ")]
    return re.compile((b"(?:%s)+" % b"|".join(_SPACES)).join(map(re.escape, words)))


def _likely_lines(blocks: Iterable[bytes], wanted: str) -> Iterator[bytes]:
    """Yield the lines in which the text occurs, as a document's text or elsewhere."""
    pattern = _pattern(wanted)
    for block in blocks:
        end = 0
        while match := pattern.search(block, end):
            start, end = block.rfind(b"\n", 0, match.start()) + 1, block.find(b"\n", match.end()) + 1
            yield block[start:end]


def _likely_lines_of_any_case(blocks: Iterable[bytes], wanted: str) -> Iterator[bytes]:
    """Yield the lines in which the first word occurs in small or large letters."""
    word = re.compile(re.escape(json.dumps(wanted.split(" ")[0], ensure_ascii=False)[1:-1]), re.IGNORECASE)
    for block in blocks:
        yield from (line.encode() for line in block.decode().split("\n") if word.search(line))


def fold(text: str) -> str:
    return " ".join(text.split())


def _excerpt(folded: str, first: int, last: int) -> str:
    start, end = max(first - CONTEXT_CHARACTERS, 0), last + CONTEXT_CHARACTERS
    return ("…" if start else "") + folded[start:end] + ("…" if end < len(folded) else "")
