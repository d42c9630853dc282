"""The unit of the corpus: a text with a source and an id, and the record of one that is not kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headwater.core.conversations import messages_of, spoken
from headwater.corpus.sources.settings import CONVERSATIONS

EXCERPT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Document:
    """A text to train on; of kind conversations, messages in JSON (headwater.core.conversations).

    `id` is unique in its source and the same in every build from the same inputs. `origin` is where the text was
    read, as the settings name it, never an absolute path of their own making. `meta["group"]`, where a reader sets
    it, ties documents that must fall on the same side of the split (a module's code and its docstrings).
    """

    text: str
    source: str
    id: str
    origin: str
    kind: str
    meta: dict[str, str] = field(default_factory=dict)

    def drop(self, reason: str, num_bytes: int, excerpt: str | None = None, **more: Any) -> Drop:
        """Return the record of this document, or of a part of it; its beginning is the excerpt, where none is given."""
        excerpt = (self.text if excerpt is None else excerpt)[:EXCERPT_CHARACTERS]
        return Drop(reason, self.source, self.id, self.origin, num_bytes, excerpt, **more)


@dataclass(frozen=True, slots=True)
class Drop:
    """Something read and not kept. `num_documents` is 0 for a part cut out of a document that is kept."""

    reason: str
    source: str
    id: str
    origin: str
    num_bytes: int
    excerpt: str = ""
    num_documents: int = 1
    duplicate_of: str = ""  # source and id of the earlier document that is kept, or was the first with this text
    because: str = ""  # what decided, in a few words, where the reason doesn't say it: "2 words, 5 at least"


def plain_text(document: Document) -> str:
    """Return a document's text; of a conversation what is said in it."""
    return spoken(messages_of(document.text)) if document.kind == CONVERSATIONS else document.text


def num_bytes(text: str) -> int:
    """Return the UTF-8 bytes of a text that has no lone surrogates."""
    return len(text) if text.isascii() else len(text.encode())
