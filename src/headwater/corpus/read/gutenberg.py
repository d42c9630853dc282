"""The header and the licence that Project Gutenberg puts around a book's text, and texts made in its manner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headwater.corpus.document import num_bytes
from headwater.corpus.read.dates import iso_date

_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
# a long title continues in lines that are set in
_FIELD = re.compile(
    r"^(Title|Author|Release date|Posting date|Language): *([^\r\n]{1,300}(?:\r?\n {2,}[^\r\n]{1,300}){0,5})",
    re.MULTILINE | re.IGNORECASE,
)
_LANGUAGES = {
    **{"english": "en", "french": "fr", "german": "de", "finnish": "fi", "dutch": "nl", "italian": "it"},
    **{"spanish": "es", "portuguese": "pt", "chinese": "zh", "hungarian": "hu", "greek": "el", "swedish": "sv"},
    **{"latin": "la", "danish": "da", "esperanto": "eo", "catalan": "ca", "polish": "pl", "norwegian": "no"},
    **{"japanese": "ja", "welsh": "cy", "czech": "cs", "russian": "ru"},
}
_MAX_CHARACTERS = 300
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


def header_metadata(header: str) -> dict[str, str]:
    """Return title, author, language and date of release as the header of a book names them."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(header[:_HEAD_CHARACTERS]):
        fields.setdefault(name.lower(), " ".join(value.split())[:_MAX_CHARACTERS])
    meta = {
        "title": fields.get("title", ""),
        "author": fields.get("author", ""),
        "date": iso_date(fields.get("release date", "") or fields.get("posting date", "")),
        "language": _code(fields.get("language", "")),
    }
    return {name: value for name, value in meta.items() if value}


def _code(language: str) -> str:
    """Return the code of the language that a header names in English; "" for several, and for one of few books."""
    return _LANGUAGES.get(language.lower(), "")


class Boilerplate:
    """Takes boilerplate off a text that arrives in chunks, and counts what it took."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self.excerpt = ""
        self.said: dict[str, str] = {}
        """What the header says of the book, once the text's first chunk is there."""

    def without(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield the text between the line that says where it starts and the one that says where it ends."""
        head: str | None = ""
        rest, is_over = "", False
        for chunk in chunks:
            if is_over:
                self._cut_(chunk)
                continue
            if head is not None:
                head += chunk
                if len(head) < _HEAD_CHARACTERS:
                    continue
                chunk, head = self._after_start_(head), None
            rest += chunk
            text, rest, is_over = self._before_end_(rest)
            yield text
        if head is not None:
            rest = self._after_start_(head)
        if not is_over:
            text, rest, _ = self._before_end_(rest)
            yield text + rest

    def _after_start_(self, head: str) -> str:
        found = _START.search(head, 0, _HEAD_CHARACTERS)
        if not found:
            return head
        self.said = header_metadata(head[: found.end()])
        self._cut_(head[: found.end()])
        return head[found.end() :]

    def _before_end_(self, text: str) -> tuple[str, str, bool]:
        """Return what may be given out of a text, the line that may continue, and whether the end was met."""
        found = _END.search(text)
        if found:
            self._cut_(text[found.start() :])
            return text[: found.start()], "", True
        last = text.rfind("\n") + 1
        if len(text) - last > 1000:  # no such line has that length
            last = len(text)
        return text[:last], text[last:], False

    def _cut_(self, text: str) -> None:
        self.excerpt = self.excerpt or text[:500]
        self.num_bytes += num_bytes(text)
