"""The unit that every stage of the corpus passes on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """A text with where it came from; `id` is unique within its source."""

    text: str
    source: str  # the name in the run file: "books"
    id: str
    origin: str  # where the reader found it: a path, a package and a part of it
    kind: str  # "books", "code", …: decides which filter rules apply
    meta: dict[str, str] = field(default_factory=dict)
