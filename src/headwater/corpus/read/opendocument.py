"""ODT: a document a file, of headings, paragraphs, lists and tables, its notes behind the text.

What was deleted with changes tracked, tables of contents, running heads and annotations aren't read.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.office import TextBlocks
from headwater.corpus.read.office_zip import opened, properties
from headwater.corpus.read.xml import parse_xml

_SILENT = "tracked-changes annotation table-of-content alphabetical-index illustration-index table-index note-citation"
_SILENT_NAMES = frozenset(_SILENT.split())
_BLOCKS = {"table": "table", "table-row": "tr", "table-cell": "td"}
_SPACES = {"s": " ", "tab": " "}


def read_odt(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document.

    Raises Unusable: not_odt, damaged_odt, encrypted, no_text, and what XML and archives are refused for.
    """
    with opened(file, limits, "odt") as package:
        if b"encryption-data" in package.read("META-INF/manifest.xml"):
            raise Unusable("encrypted")
        reader = _Text()
        for name in ("styles.xml", "content.xml"):
            if data := package.read(name, is_needed=name == "content.xml"):
                parse_xml(data, reader.start, reader.end, reader.text)
        text = reader.rendered()
        if not text:
            raise Unusable("no_text")
        yield file.document(text, **properties(package.read("meta.xml")))


class _Text:
    """Hands the text of a document's body to blocks, and keeps its notes for the end."""

    def __init__(self) -> None:
        self._blocks = TextBlocks()
        self._numbered: set[tuple[str, str]] = set()  # names of styles of lists, and the levels that have numbers
        self._style = ""
        self._lists: list[str] = []  # the styles of those that are open
        self._paragraphs: list[str] = []
        self._notes: list[str] = []
        self._silent = self._in_note = self._in_body = 0
        self._is_item = False  # one begins with the next paragraph

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._silent += name in _SILENT_NAMES
        if name == "list-style":
            self._style = attributes.get("style:name", "")
        elif name == "list-level-style-number" and attributes.get("style:num-format", "1"):
            self._numbered.add((self._style, attributes.get("text:level", "")))
        self._in_body += name == "body"
        if not self._in_body or self._silent:
            return
        if name == "note-body":
            self._in_note += 1
            self._notes.append("")
        elif name in ("p", "h"):
            self._begin_(name)
        elif name == "list":
            self._lists.append(attributes.get("text:style-name", self._lists[-1] if self._lists else ""))
        elif name == "list-item":
            self._is_item = True
        elif name in _BLOCKS and not self._in_note:
            self._blocks.lists_([])
            self._blocks.open_(_BLOCKS[name])
        elif name == "line-break" and not self._in_note:
            self._blocks.open_("br")
        elif name in (*_SPACES, "line-break"):
            self.text(" ")

    def _begin_(self, name: str) -> None:
        if self._in_note:
            self._paragraphs.append("")
            self._notes[-1] += " "
            return
        level = len(self._lists) - 1
        kind = "h2" if name == "h" else "p"
        if level < 0 or kind == "h2":
            self._blocks.begin_(kind)
        elif self._is_item:
            self._blocks.begin_("ol" if (self._lists[-1], str(level + 1)) in self._numbered else "ul", level)
            kind, self._is_item = "li", False
        else:
            self._blocks.open_(kind)
        self._paragraphs.append(kind)

    def end(self, name: str) -> None:
        is_silent = self._silent > 0
        self._silent -= name in _SILENT_NAMES
        self._in_body -= name == "body"
        if not self._in_body or is_silent:
            return
        if name == "note-body":
            self._in_note -= 1
        elif name in ("p", "h"):
            if kind := self._paragraphs.pop():
                self._blocks.close_(kind)
        elif name == "list":
            self._lists.pop()
        elif name in _BLOCKS and not self._in_note:
            self._blocks.lists_([])
            self._blocks.close_(_BLOCKS[name])

    def text(self, text: str) -> None:
        if self._paragraphs and not self._silent:
            if self._in_note:
                self._notes[-1] += text
            else:
                self._blocks.text(text)

    def rendered(self) -> str:
        for note in self._notes:
            self._blocks.begin_("p")
            self._blocks.text(note)
            self._blocks.close_("p")
        return self._blocks.rendered()
