"""The unit of the corpus: a text with a source and an id, and the record of one that is not kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.conversations import messages_of, spoken
from headwater.sources.settings import CONVERSATIONS

EXCERPT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Document:
    """A text to train on; of kind conversations, messages in JSON (headwater.conversations).

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


def drop_part(document: Document, reason: str, num_bytes: int, excerpt: str, because: str = "") -> Drop:
    """Return the record of a part cut out of a document that is kept."""
    excerpt = excerpt[:EXCERPT_CHARACTERS]
    return Drop(
        reason, document.source, document.id, document.origin, num_bytes, excerpt, num_documents=0, because=because
    )


def drop_document(
    document: Document, reason: str, raw_bytes: int, duplicate_of: str = "", because: str = "", excerpt: str = ""
) -> Drop:
    """Return the record of a document that isn't kept; its beginning is the excerpt, where none is given."""
    return Drop(
        reason=reason,
        source=document.source,
        id=document.id,
        origin=document.origin,
        num_bytes=raw_bytes,
        excerpt=(excerpt or document.text)[:EXCERPT_CHARACTERS],
        duplicate_of=duplicate_of,
        because=because,
    )
