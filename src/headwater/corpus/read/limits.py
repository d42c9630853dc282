"""What a file may make a reader do: how much text, how many records, how large one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.sections import sections
from headwater.corpus.sources.formats import FORMATS, Format, Formats, expands_too_far
from headwater.corpus.sources.settings import CONVERSATIONS

RECORD_BYTES = 64  # what a record without text counts as: the account of one dropped takes more

MAX_DROPS_LISTED = 1000  # a file of three bytes a record would have 300 million drops a gigabyte
ZERO_BYTE = "it holds a zero byte"
MAX_META_CHARACTERS = 500  # of a value: it stands beside every section of its document


_WHOLE = ("licence", "group")


def limited_meta(meta: dict[str, str]) -> dict[str, str]:
    """Return metadata without what is empty, and cut; but for groups and licences, whose end may count."""
    # a group may be empty: of a file whose name the process that reads it doesn't know
    kept = {name: value for name, value in meta.items() if value or name == "group"}
    return {name: value if name in _WHOLE else value[:MAX_META_CHARACTERS] for name, value in kept.items()}


class Unusable(Exception):
    """A file can't be used (any further); the reason is what the balance sheet shows, the rest as in a Drop."""

    def __init__(self, reason: str, because: str = "", excerpt: str = "") -> None:
        super().__init__(reason)
        self.reason, self.because, self.excerpt = reason, because, excerpt


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The settings of a corpus, and of a source, that readers go by, under the same names."""

    max_document_characters: int
    max_line_bytes: int
    max_file_bytes: int
    text_column: str | None = None
    encoding: str = "utf-8"
    errors: str = "replace"
    finds_licences: bool = False
    own_formats: Formats = field(default_factory=dict)
    blocked_hosts: tuple[str, ...] = ()
    blocked_urls: tuple[str, ...] = ()

    def format(self, name: str) -> Format:
        """Return the format of this name."""
        return self.own_formats[name] if name in self.own_formats else FORMATS[name]

    @staticmethod
    def of_message(table: dict[str, Any]) -> ReadLimits:
        """Return the limits that another process has sent as a table."""
        own = {name: Format(*each) for name, each in table.pop("own_formats").items()}
        return ReadLimits(**table, own_formats=own)


class Expansion:
    """Counts what comes out of a file against what went in."""

    def __init__(self) -> None:
        self._bytes_out = 0

    def add_(self, bytes_out: int, bytes_in: int) -> None:
        """Count `bytes_out` more, out of `bytes_in` in all so far; raise Unusable where that is out of proportion."""
        self._bytes_out += bytes_out
        if expands_too_far(self._bytes_out, bytes_in):
            raise Unusable("expands_too_far")


def bounded(pieces: Iterable[Document | Drop], max_characters: int) -> Iterator[Document | Drop]:
    """Yield the pieces of a file in bounded size and number; nothing is lost from the account.

    Documents longer than `max_characters` are cut, but no conversations; halves of surrogate pairs, which JSON can
    spell, are taken out. Of more than 1,000 drops for one reason the rest is one drop, with their number, at the end.
    Doing it twice changes nothing.
    """
    num_listed: Counter[str] = Counter()
    rest: dict[str, Drop] = {}
    damage: Exception | None = None
    try:
        for piece in pieces:
            if isinstance(piece, Document):
                text = in_unicode(piece.text)
                yield from _cut(piece if text == piece.text else replace(piece, text=text), max_characters)
            elif num_listed[piece.reason] < MAX_DROPS_LISTED:
                num_listed[piece.reason] += 1
                yield piece
            else:
                rest[piece.reason] = _with_one_more(rest.get(piece.reason), piece)
    except (Unusable, OSError) as error:
        damage = error
    yield from rest.values()
    if damage is not None:
        raise damage


def _with_one_more(rest: Drop | None, drop: Drop) -> Drop:
    """Return the drop that stands for those of one reason that are not listed, with one more."""
    if rest is None:
        return replace(drop, id=f"{drop.origin}#more/{drop.reason}", excerpt="")
    num_documents, num_bytes = rest.num_documents + drop.num_documents, rest.num_bytes + drop.num_bytes
    return replace(rest, num_documents=num_documents, num_bytes=num_bytes)


def in_unicode(text: str) -> str:
    """Return a text without halves of surrogate pairs: emoji that were cut in two."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _cut(document: Document, max_characters: int) -> Iterator[Document]:
    if len(document.text) <= max_characters or document.kind == CONVERSATIONS:
        yield document
        return
    meta = {"group": document.id, **document.meta}
    for number, text in enumerate(sections([document.text], max_characters)):
        yield replace(document, id=f"{document.id}/{number}", text=text, meta=meta)
