"""A text of a package, before it is a document of any source, and what its readers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headwater.corpus.sources.formats import expands_too_far

ARTICLE_CHARACTERS = 8000


@dataclass(frozen=True, slots=True)
class SampleText:
    """A text: what names it in its source, and where it was read, which several may share."""

    text: str
    id: str
    origin: str
    meta: dict[str, str] = field(default_factory=dict)


class Unreadable(Exception):
    """A file isn't what its package promises; the reason is what the balance sheet shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Return what a file holds. Raises Unreadable where that is more than `max_bytes`."""
    with open(path, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Unreadable("file_too_large")
    return data


def check_expansion(bytes_out: int, bytes_in: int) -> None:
    """Raise Unreadable where more comes out of a compressed file than text can."""
    if expands_too_far(bytes_out, bytes_in):
        raise Unreadable("expands_too_far")


def articles(entries: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield the texts of (subject, text) entries together, about 8,000 characters of one subject at a time.

    An entry of a dictionary is a line or two: alone it would be a document too short to learn from.
    """
    texts, size, subject = list[str](), 0, ""
    for found, text in entries:
        if texts and (size >= ARTICLE_CHARACTERS or found != subject):
            yield texts
            texts, size = [], 0
        subject = found
        texts.append(text)
        size += len(text)
    if texts:
        yield texts
