"""DOCX and PPTX: a document a file, of headings, paragraphs, lists, tables and notes, in the order of reading.

Styles say what is a heading or an item of a list. What was deleted with changes tracked, tables of contents, running
heads, comments and numbers of slides aren't read. Parts of the file are found by what its relations say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from headwater.corpus.document import Document
from headwater.corpus.read.html_blocks import Builder, render
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.office_zip import Package, opened, properties
from headwater.corpus.read.xml import parse_xml

_HEADING = re.compile(r"(?:heading|title|subtitle)\b", re.IGNORECASE)
_SILENT = ("Fallback", "moveFrom", "del")  # a second form of the same; what was moved or deleted
_BLOCKS = {"tbl": "table", "tr": "tr", "tc": "td"}
# what the shapes of a slide hold, by what they are for; dates, numbers and running heads are none of the text
_ON_SLIDES = {"title": "h2", "ctrTitle": "h2", "": "ul", "body": "ul", "obj": "ul", "subTitle": "p", "tbl": "p"}
_ON_NOTES = {"body": "p"}
_MAX_LEVELS = 9


class TextBlocks:
    """Paragraphs with what they are, as blocks of text."""

    def __init__(self) -> None:
        self._builder, self._lists = Builder(), list[str]()

    def begin_(self, kind: str, level: int = 0) -> None:
        """Begin a paragraph: p, h2, or an item of ul or ol at a level."""
        is_item = kind in ("ul", "ol")
        self.lists_([*self._lists[:level], *["ul"] * (level - len(self._lists)), kind] if is_item else [])
        self.open_("li" if is_item else kind)

    def lists_(self, kinds: list[str]) -> None:
        """Close and open lists so that those that are open are of these kinds."""
        same = next((at for at, pair in enumerate(zip(self._lists, kinds)) if pair[0] != pair[1]), None)
        same = min(len(self._lists), len(kinds)) if same is None else same
        for kind in reversed(self._lists[same:]):
            self._builder.close_(kind)
        for kind in kinds[same:]:
            self._builder.open_(kind, "")
        self._lists = kinds

    def open_(self, name: str) -> None:
        self._builder.open_(name, "")

    def close_(self, name: str) -> None:
        self._builder.close_(name)

    def text(self, text: str) -> None:
        self._builder.text(text.replace("&", "&amp;") if "&" in text else text)

    def rendered(self) -> str:
        return render(self._builder.finish_().blocks)


class _Style(NamedTuple):
    """What a style says of its paragraphs: a kind, "" for one that isn't read, None for what its base says."""

    kind: str | None
    base: str
    list_number: str = ""


class _Styles:
    """The styles and lists of a DOCX."""

    def __init__(self, styles: bytes, numbering: bytes) -> None:
        self._styles, self._formats, self._abstract = (
            dict[str, _Style](),
            dict[tuple[str, int], str](),
            dict[str, str](),
        )
        self._id = self._list = ""
        self._level = 0
        for data in (styles, numbering):
            if data:
                parse_xml(data, self._start, lambda name: None, lambda text: None)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        value = _value(attributes, "val")
        if name == "style":
            self._id = _value(attributes, "styleId")
            self._styles[self._id] = _Style(None, "")
        elif name in ("name", "basedOn", "outlineLvl", "numId") and self._id in self._styles:
            style = self._styles[self._id]
            if name == "basedOn":
                style = style._replace(base=value)
            elif name == "numId":
                style = style._replace(list_number=value)
            elif name == "outlineLvl" or _HEADING.match(value):
                style = style._replace(kind="h2" if name == "name" or _is_outline(value) else style.kind)
            elif value.lower().startswith("toc "):
                style = style._replace(kind="")
            self._styles[self._id] = style
        elif name in ("abstractNum", "num"):
            self._id, self._list = "", _value(attributes, "abstractNumId" if name == "abstractNum" else "numId")
        elif name == "abstractNumId":
            self._abstract[self._list] = value
        elif name == "lvl":
            self._level = _number(_value(attributes, "ilvl"))
        elif name == "numFmt":
            self._formats.setdefault((self._list, self._level), value)

    def kind(self, style_id: str) -> tuple[str, str]:
        """Return the kind of a style's paragraphs, and the number of the list that they are items of, or ""."""
        seen, kind, list_number = set[str](), None, ""
        while style_id in self._styles and style_id not in seen:
            seen.add(style_id)
            style = self._styles[style_id]
            kind, list_number = style.kind if kind is None else kind, list_number or style.list_number
            style_id = style.base
        return "p" if kind is None else kind, list_number

    def list_kind(self, list_number: str, level: int) -> str:
        return (
            "ul"
            if self._formats.get((self._abstract.get(list_number, ""), level)) in (None, "bullet", "none")
            else "ol"
        )


class _Paragraphs:
    """Hands the text of a part to blocks. `shapes` says what those of a slide hold; of a DOCX its styles do."""

    def __init__(
        self, blocks: TextBlocks, styles: _Styles | None = None, shapes: Mapping[str, str] | None = None
    ) -> None:
        self._blocks, self._styles, self._shapes = blocks, styles, shapes or {}
        self._silent = self._cells = 0
        self._is_text = False
        self._shape: str = "p"
        self._open: list[str] = []  # of each open paragraph what it is, once it has text
        self._kind, self._level, self._list = "p", 0, ""

    def parse(self, data: bytes) -> None:
        parse_xml(data, self._start, self._end, self._text)
        self._blocks.lists_([])

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._silent += name in _SILENT
        value = _value(attributes, "val")
        if name == "p":
            self._open.append("")
            self._kind, self._level, self._list = self._shape, 0, ""
        elif name in _BLOCKS:
            self._blocks.lists_([])
            self._blocks.open_(_BLOCKS[name])
        elif name == "t":
            self._is_text = True
        elif name == "pStyle" and self._styles is not None:
            self._kind, self._list = self._styles.kind(value)
        elif name == "outlineLvl" and _is_outline(value):
            self._kind = "h2"
        elif name in ("ilvl", "pPr"):
            self._level = min(_number(value or attributes.get("lvl", "")), _MAX_LEVELS)
        elif name == "numId":
            self._list = value
        elif name == "sp":
            self._shape = "p"
        elif name == "ph":
            self._shape = self._shapes.get(attributes.get("type", ""), "")
        elif name in ("br", "cr", "tab", "noBreakHyphen") and self._open and self._open[-1]:
            self._add("-" if name == "noBreakHyphen" else " " if name == "tab" else "\n")

    def _end(self, name: str) -> None:
        self._silent -= name in _SILENT
        if name == "t":
            self._is_text = False
        elif name == "p":
            if kind := self._open.pop():
                self._blocks.close_(kind)
        elif name in _BLOCKS:
            self._blocks.lists_([])
            self._blocks.close_(_BLOCKS[name])
        elif name == "sp":
            self._shape = "p"

    def _text(self, text: str) -> None:
        if self._is_text and self._open and self._kind:
            self._add(text)

    def _add(self, text: str) -> None:
        if self._silent:
            return
        if not self._open[-1]:
            is_item = self._styles is not None and self._kind == "p" and self._list not in ("", "0")
            kind = self._styles.list_kind(self._list, self._level) if self._styles and is_item else self._kind
            self._blocks.begin_(kind, self._level)
            self._open[-1] = "li" if kind in ("ul", "ol") else kind
        if text == "\n":
            self._blocks.open_("br")
        else:
            self._blocks.text(text)


def read_docx(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document, footnotes and endnotes behind the text.

    Raises Unusable: not_docx, damaged_docx, encrypted, no_text, and what XML and archives are refused for.
    """
    with opened(file, limits, "docx") as package:
        main = _main_part(package)
        parts: dict[str, str] = {}
        for kind, _, name in package.related(main):
            parts.setdefault(kind, name)
        styles = _Styles(*(package.read(parts.get(kind, "")) for kind in ("styles", "numbering")))
        blocks = TextBlocks()
        _Paragraphs(blocks, styles).parse(package.read(main, is_needed=True))
        for kind in ("footnotes", "endnotes"):
            if notes := package.read(parts.get(kind, "")):
                _Paragraphs(blocks, styles).parse(notes)
        yield _document(file, package, blocks)


def read_pptx(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document: the slides in the order of the show, each with its notes behind it.

    Raises Unusable: not_pptx, damaged_pptx, encrypted, no_text, and what XML and archives are refused for.
    """
    with opened(file, limits, "pptx") as package:
        main = _main_part(package)
        order: list[str] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "sldId":
                order.append(next((value for key, value in attributes.items() if key.endswith(":id")), ""))

        parse_xml(package.read(main, is_needed=True), start, lambda name: None, lambda text: None)
        slides = {number: name for kind, number, name in package.related(main) if kind == "slide"}
        blocks = TextBlocks()
        for slide in (slides[number] for number in dict.fromkeys(order) if number in slides):
            _Paragraphs(blocks, shapes=_ON_SLIDES).parse(package.read(slide, is_needed=True))
            for name in (name for kind, _, name in package.related(slide) if kind == "notesSlide"):
                if notes := package.read(name):
                    _Paragraphs(blocks, shapes=_ON_NOTES).parse(notes)
        yield _document(file, package, blocks)


def _main_part(package: Package) -> str:
    return next((name for kind, _, name in package.related("") if kind == "officeDocument"), "")


def _document(file: InputFile, package: Package, blocks: TextBlocks) -> Document:
    text = blocks.rendered()
    if not text:
        raise Unusable("no_text")
    named = (name for kind, _, name in package.related("") if kind == "core-properties")
    return file.document(text, **properties(package.read(next(named, ""))))


def _value(attributes: Mapping[str, str], name: str) -> str:
    """Return the value of an attribute, by its name without a prefix."""
    return next((value for key, value in attributes.items() if key.rpartition(":")[2] == name), "")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 5 else 0


def _is_outline(level: str) -> bool:
    return level.isdecimal() and int(level) < _MAX_LEVELS  # the next one stands for the text itself
