"""A text of a package, before it is a document of any source, how it is written, and what its readers share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import new_file

ARTICLE_CHARACTERS = 8000


@dataclass(frozen=True, slots=True)
class SampleText:
    """A text: what names it in its source, and where it was read, which several may share."""

    text: str
    id: str
    origin: str
    meta: dict[str, str] = field(default_factory=dict)


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> int:
    """Write records as JSON lines into a file that appears whole; return how many they are."""
    count = 0
    with new_file(path) as file:
        for count, line in enumerate(lines, 1):  # noqa: B007
            file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    return count


def as_record(text: SampleText) -> dict[str, Any]:
    """Return a text as a line of a file that a source reads (read.record): with its own id and origin."""
    return {"headwater": 1, "id": text.id, "text": text.text, "metadata": {"origin": text.origin, **text.meta}}


def damaged(origin: str, why: object) -> DataError:
    """Return what a file is that isn't what its package promises."""
    return DataError(f"{origin} is damaged, or of another form than headwater knows ({why}); fetch another version")


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
