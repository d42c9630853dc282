"""Which documents hold a text: the proof that something was, or was not, trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.corpus.load import SPLITS, list_sources, read_documents
from headwater.errors import DataError

CONTEXT_CHARACTERS = 80


def trace(corpus_dir: Path, text: str) -> list[dict[str, Any]]:
    """Return a hit for every document of both splits in which `text` occurs, exactly but for white space.

    Any run of white space, line ends too, counts as one space. A hit has split, source, id, origin, count (the
    occurrences that don't overlap) and an excerpt around the first.
    """
    wanted = fold(text)
    if not wanted:
        raise DataError('there is no text to look for; `headwater corpus trace "some words"` takes some')
    hits = []
    for split in SPLITS:
        for source in list_sources(corpus_dir):
            for document in read_documents(corpus_dir, split, source):
                folded = fold(document.text)
                count = folded.count(wanted)
                if count:
                    place = {"split": split, "source": source, "id": document.id, "origin": document.origin}
                    hits.append({**place, "count": count, "excerpt": _excerpt(folded, wanted)})
    return hits


def fold(text: str) -> str:
    return " ".join(text.split())


def _excerpt(folded: str, wanted: str) -> str:
    at = folded.index(wanted)
    start = max(at - CONTEXT_CHARACTERS, 0)
    end = at + len(wanted) + CONTEXT_CHARACTERS
    return ("…" if start else "") + folded[start:end] + ("…" if end < len(folded) else "")
