"""Which documents hold a text: the proof that something was, or was not, trained on.

There is no index. A pattern goes over the shards' bytes as they come out of the decompressor, which is about as fast
as that; only lines in which it matches are parsed. An index of n-grams would take several times the corpus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.corpus.load import SPLITS, list_sources, whole_folder
from headwater.corpus.shards import parse_document, read_blocks
from headwater.errors import DataError

CONTEXT_CHARACTERS = 80
# white space as str.split knows it, in UTF-8 or escaped in JSON
_SPACES = [
    b" ", rb"\\[tnrf]", rb"\\u00(?:0b|1[c-f])", b"\xc2[\x85\xa0]", b"\xe1\x9a\x80", b"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]",
    b"\xe2\x81\x9f", b"\xe3\x80\x80",
]  # fmt: skip


def trace(corpus_dir: Path, text: str) -> list[dict[str, Any]]:
    """Return a hit for every document of both splits in which `text` occurs, exactly but for white space.

    Any run of white space, line ends too, counts as one space. A hit has split, source, id, origin, count (the
    occurrences that don't overlap) and an excerpt around the first.
    """
    wanted = fold(text)
    if not wanted:
        raise DataError('there is no text to find; `headwater corpus trace "some words"` takes some')
    hits = []
    for split in SPLITS:
        for source in list_sources(corpus_dir):
            for line in _likely_lines(whole_folder(corpus_dir, split, source), _pattern(wanted)):
                document = parse_document(line)
                folded = fold(document.text)
                count = folded.count(wanted)
                if count:
                    place = {"split": split, "source": source, "id": document.id, "origin": document.origin}
                    hits.append({**place, "count": count, "excerpt": _excerpt(folded, wanted)})
    return hits


def _pattern(wanted: str) -> re.Pattern[bytes]:
    """Return how the folded text is written in a line of JSON, with any white space between its words."""
    words = [json.dumps(word, ensure_ascii=False)[1:-1].encode() for word in wanted.split(" ")]
    return re.compile((b"(?:%s)+" % b"|".join(_SPACES)).join(map(re.escape, words)))


def _likely_lines(folder: Path, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield the lines in which the pattern matches, in the text or elsewhere."""
    for block in read_blocks(folder):
        end = 0
        while match := pattern.search(block, end):
            start, end = block.rfind(b"\n", 0, match.start()) + 1, block.find(b"\n", match.end()) + 1
            yield block[start:end]


def fold(text: str) -> str:
    return " ".join(text.split())


def _excerpt(folded: str, wanted: str) -> str:
    at = folded.index(wanted)
    start = max(at - CONTEXT_CHARACTERS, 0)
    end = at + len(wanted) + CONTEXT_CHARACTERS
    return ("…" if start else "") + folded[start:end] + ("…" if end < len(folded) else "")
