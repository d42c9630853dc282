"""DOCX, PPTX and ODT: a document a file, of headings, paragraphs, lists, tables and notes, in the order of reading.

Styles say what is a heading or an item of a list. What was deleted with changes tracked, tables of contents, running
heads, comments and numbers of slides aren't read. Parts of a DOCX or PPTX are found by what its relations say.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from xml.etree.ElementTree import Element

from headwater.corpus.document import Document
from headwater.corpus.read.archive import member_bytes, open_zip
from headwater.corpus.read.html_blocks import Builder, render
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable
from headwater.corpus.read.xml import attribute, parse_xml

_OLD = b"\xd0\xcf\x11\xe0"
_PROPERTIES = ("title", "creator", "initial-creator", "created", "creation-date", "date", "language")
_HEADING = re.compile(r"(?:heading|title|subtitle)\b", re.IGNORECASE)
# a second form of the same; what was moved or deleted; what isn't the text
_SILENT = {
    *("Fallback", "moveFrom", "del", "tracked-changes", "annotation", "note-citation"),
    *("table-of-content", "alphabetical-index", "illustration-index", "table-index"),
}
_BLOCKS = {"tbl": "table", "tr": "tr", "tc": "td", "table": "table", "table-row": "tr", "table-cell": "td"}
_SIGNS = {"br": "\n", "cr": "\n", "line-break": "\n", "tab": " ", "s": " ", "noBreakHyphen": "-"}
# what the shapes of a slide hold, by what they are for; dates, numbers and running heads are none of the text
_ON_SLIDES = {"title": "h2", "ctrTitle": "h2", "": "ul", "body": "ul", "obj": "ul", "subTitle": "p", "tbl": "p"}
_ON_NOTES = {"body": "p"}
_MAX_LEVELS = 9


class Package:
    """The members of a zip that an office writes, each read within the limits of a file."""

    def __init__(self, archive: zipfile.ZipFile, num_bytes: int, limits: ReadLimits, form: str) -> None:
        self._archive, self._num_bytes, self._max_bytes, self._form = archive, num_bytes, limits.max_file_bytes, form
        self._expansion = Expansion()

    def read(self, name: str, is_needed: bool = False) -> bytes:
        """Return a member, b"" where there is none. Raises Unusable, damaged_FORM where it is needed."""
        try:
            return member_bytes(self._archive, name, self._max_bytes, self._expansion, self._num_bytes)
        except KeyError:
            if is_needed:
                raise Unusable(f"damaged_{self._form}", f"its text, {name[:100]!r}, isn't in it") from None
            return b""

    def tree(self, name: str, is_needed: bool = False) -> Element:
        """Return the XML of a member, an element without anything in it where there is none."""
        data = self.read(name, is_needed)
        return parse_xml(data) if data else Element("")

    def related(self, part: str = "") -> list[tuple[str, str, str]]:
        """Return what a part is related to: the kind of relation, its id, the name of the other part."""
        folder, name = posixpath.split(part)
        return [
            (
                each.get("Type", "").rpartition("/")[2],
                each.get("Id", ""),
                posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/"),
            )
            for each in self.tree(posixpath.join(folder, "_rels", f"{name}.rels")).iter("Relationship")
            if each.get("TargetMode") != "External"
        ]

    def related_part(self, kind: str, part: str = "") -> str:
        """Return the name of the first part that a part has in a relation of this kind, "" where there is none."""
        return next((name for each, _, name in self.related(part) if each == kind), "")

    def document(self, file: InputFile, blocks: _Blocks, about: str) -> Document:
        """Return the document, with what the part `about` says of it. Raises Unusable: no_text."""
        text = render(blocks.finish_().blocks)
        if not text:
            raise Unusable("no_text")
        first: dict[str, str] = {}
        for each in self.tree(about).iter():
            if each.tag in _PROPERTIES:
                first.setdefault(each.tag, " ".join("".join(each.itertext()).split()))
        date = first.get("created") or first.get("creation-date") or first.get("date", "")
        author = first.get("initial-creator") or first.get("creator", "")
        language = language_of(first.get("language", ""))
        return file.document(text, title=first.get("title", ""), author=author, date=iso_date(date), language=language)


@contextmanager
def _opened(file: InputFile, limits: ReadLimits, form: str) -> Iterator[Package]:
    data = file.read_whole(limits.max_file_bytes)
    if data.startswith(_OLD):
        raise Unusable("encrypted", f"it has a password, or is of an older format; save it as .{form} without one")
    if not data.startswith(b"PK\3\4"):
        raise Unusable(f"not_{form}")
    with open_zip(BytesIO(data), form) as archive:
        yield Package(archive, len(data), limits, form)


class _Blocks(Builder):
    """Blocks of paragraphs, and of the tables and lists that hold them."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: list[str] = []  # of the lists that are open

    def begin_(self, kind: str, level: int = 0) -> str:
        """Begin a paragraph: p, h2, or an item of ul or ol at a level. Return the name under which it is closed."""
        is_item = kind in ("ul", "ol")
        outer = [*self._kinds[:level], *["ul"] * (level - len(self._kinds))]
        self._list_([*outer, kind] if is_item else [])
        name = "li" if is_item else kind
        self.open_(name, "")
        return name

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Put what is added in the meantime into an element of its own: a table, row or cell, a slide."""
        self._list_([])
        self.open_(name, "")
        yield
        self._list_([])
        self.close_(name)

    def _list_(self, kinds: list[str]) -> None:
        """Close and open lists so that those that are open are of these kinds."""
        pairs = enumerate(zip(self._kinds, kinds))
        same = next((at for at, pair in pairs if pair[0] != pair[1]), min(len(self._kinds), len(kinds)))
        for kind in reversed(self._kinds[same:]):
            self.close_(kind)
        for kind in kinds[same:]:
            self.open_(kind, "")
        self._kinds = kinds

    def sign_(self, sign: str) -> None:
        self.open_("br", "") if sign == "\n" else self.text(sign)


class _Styles:
    """What the styles and lists of a DOCX are: of a style whether it is a heading, "" for one that isn't read, None for
    what its base says; that base; and the number of its list.
    """

    def __init__(self, styles: Element, numbering: Element) -> None:
        self._styles: dict[str, tuple[str | None, str, str]] = {}
        for style in styles.iter("style"):
            name, kind = _value(style, "name"), None
            if _HEADING.match(name) or _is_outline(_value(style, ".//outlineLvl")):
                kind = "h2"
            elif name.lower().startswith("toc "):
                kind = ""
            self._styles[attribute(style, "styleId")] = kind, _value(style, "basedOn"), _value(style, ".//numId")
        self._abstract = {attribute(each, "numId"): _value(each, "abstractNumId") for each in numbering.iter("num")}
        self._formats = {
            (attribute(each, "abstractNumId"), _number(attribute(level, "ilvl"))): _value(level, ".//numFmt")
            for each in numbering.iter("abstractNum")
            for level in each.iter("lvl")
        }

    def of_paragraph(self, about: Element) -> tuple[str, int]:
        """Return the kind of a paragraph and the level of its list, by what stands at its beginning."""
        style_id, kind, list_number = _value(about, "pStyle"), None, ""
        seen = set[str]()
        while style_id in self._styles and style_id not in seen:
            seen.add(style_id)
            of_style, style_id, of_list = self._styles[style_id]
            kind, list_number = of_style if kind is None else kind, list_number or of_list
        if _is_outline(_value(about, "outlineLvl")):
            kind = "h2"
        list_number = _value(about, "numPr/numId") or list_number
        level = min(_number(_value(about, "numPr/ilvl")), _MAX_LEVELS)
        if kind not in (None, "p") or list_number in ("", "0"):
            return "p" if kind is None else kind, level
        is_bullet = self._formats.get((self._abstract.get(list_number, ""), level), "") in ("", "bullet", "none")
        return "ul" if is_bullet else "ol", level


class _Paragraphs:
    """Hands the text of a part to blocks. `shapes` says what those of a slide hold; of a DOCX its styles do."""

    def __init__(self, blocks: _Blocks, styles: _Styles | None, shapes: Mapping[str, str]) -> None:
        self._blocks, self._styles, self._shapes = blocks, styles, shapes
        self._shape = "p"
        self._kind, self._level = "", 0  # of the paragraph that is read; "" of one that isn't
        self._open = ""  # what it is called, once it has text

    def add_(self, element: Element) -> None:
        name = element.tag
        if name in _SILENT:
            return
        if name == "p":
            self._add_paragraph(element)
        elif name == "t" and self._kind and element.text:
            self._open = self._open or self._blocks.begin_(self._kind, self._level)
            self._blocks.plain_text(element.text)
        elif name in _SIGNS and self._open:
            self._blocks.sign_(_SIGNS[name])
        elif name == "sp":
            place = element.find(".//ph")
            self._shape = "p" if place is None else self._shapes.get(place.get("type", ""), "")
            self._add_all(element)
            self._shape = "p"
        elif name in _BLOCKS:
            with self._blocks.within(_BLOCKS[name]):
                self._add_all(element)
        else:
            self._add_all(element)

    def _add_all(self, element: Element) -> None:
        for each in element:
            self.add_(each)

    def _add_paragraph(self, element: Element) -> None:
        around = self._kind, self._level, self._open
        about = element.find("pPr")
        self._kind, self._level, self._open = self._shape, 0, ""
        if about is not None and self._styles is not None:
            self._kind, self._level = self._styles.of_paragraph(about)
        elif about is not None:
            self._level = min(_number(about.get("lvl", "")), _MAX_LEVELS)
        self._add_all(element)
        if self._open:
            self._blocks.close_(self._open)
        self._kind, self._level, self._open = around


def read_docx(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document, footnotes and endnotes behind the text.

    Raises Unusable: not_docx, damaged_docx, encrypted, no_text, and what XML and archives are refused for.
    """
    with _opened(file, limits, "docx") as package:
        main = package.related_part("officeDocument")
        parts = {kind: name for kind, _, name in reversed(package.related(main))}
        styles = _Styles(*(package.tree(parts.get(kind, "")) for kind in ("styles", "numbering")))
        blocks = _Blocks()
        for name in (main, parts.get("footnotes", ""), parts.get("endnotes", "")):
            with blocks.within("div"):
                _Paragraphs(blocks, styles, {}).add_(package.tree(name, is_needed=name == main))
        yield package.document(file, blocks, package.related_part("core-properties"))


def read_pptx(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document: the slides in the order of the show, each with its notes behind it.

    Raises Unusable: not_pptx, damaged_pptx, encrypted, no_text, and what XML and archives are refused for.
    """
    with _opened(file, limits, "pptx") as package:
        main = package.related_part("officeDocument")
        show = package.tree(main, is_needed=True).iter("sldId")
        order = [next((value for key, value in each.items() if key.endswith(":id")), "") for each in show]
        slides = {number: name for kind, number, name in package.related(main) if kind == "slide"}
        blocks = _Blocks()
        for slide in (slides[number] for number in dict.fromkeys(order) if number in slides):
            notes = package.related_part("notesSlide", slide)
            for name, shapes in ((slide, _ON_SLIDES), (notes, _ON_NOTES)):
                with blocks.within("div"):
                    _Paragraphs(blocks, None, shapes).add_(package.tree(name, is_needed=name == slide))
        yield package.document(file, blocks, package.related_part("core-properties"))


def read_odt(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document, its notes behind the text.

    Raises Unusable: not_odt, damaged_odt, encrypted, no_text, and what XML and archives are refused for.
    """
    with _opened(file, limits, "odt") as package:
        if b"encryption-data" in package.read("META-INF/manifest.xml"):
            raise Unusable("encrypted")
        content = package.tree("content.xml", is_needed=True)
        numbered = {
            (attribute(style, "name"), attribute(level, "level"))
            for part in (package.tree("styles.xml"), content)
            for style in part.iter("list-style")
            for level in style.iter("list-level-style-number")
            if level.get("style:num-format", "1")
        }
        blocks = _Blocks()
        text = _OpenText(blocks, numbered)
        for body in content.iter("body"):
            text.add_(body)
        for note in text.notes:
            name = blocks.begin_("p")
            blocks.plain_text(note)
            blocks.close_(name)
        yield package.document(file, blocks, "meta.xml")


class _OpenText:
    """Hands the text of an ODT to blocks, and keeps its notes. `numbered` has names of styles of lists, and the levels
    that have numbers in them.
    """

    def __init__(self, blocks: _Blocks, numbered: set[tuple[str, str]]) -> None:
        self.notes: list[str] = []
        self._blocks, self._numbered = blocks, numbered
        self._lists: list[str] = []  # the styles of those that are open
        self._in_paragraph = 0
        self._is_item = False  # one begins with the next paragraph

    def add_(self, element: Element) -> None:
        name = element.tag
        if name in _SILENT:
            return
        if name == "note-body":
            self.notes.append(_plain(element))
        elif name in ("p", "h"):
            kind = self._begin_(name)
            self._in_paragraph += 1
            self._add_all(element)
            self._in_paragraph -= 1
            self._blocks.close_(kind)
        elif name == "list":
            self._lists.append(element.get("text:style-name", self._lists[-1] if self._lists else ""))
            self._add_all(element)
            self._lists.pop()
        elif name in _BLOCKS:
            with self._blocks.within(_BLOCKS[name]):
                self._add_all(element)
        elif name in _SIGNS:
            self._blocks.sign_(_SIGNS[name])
        else:
            self._is_item |= name == "list-item"
            self._add_all(element)

    def _add_all(self, element: Element) -> None:
        self._add_text(element.text)
        for each in element:
            self.add_(each)
            self._add_text(each.tail)

    def _add_text(self, text: str | None) -> None:
        if text and self._in_paragraph:
            self._blocks.plain_text(text)

    def _begin_(self, name: str) -> str:
        level = len(self._lists) - 1
        if level < 0 or name == "h":
            return self._blocks.begin_("h2" if name == "h" else "p")
        if self._is_item:
            self._is_item = False
            kind = "ol" if (self._lists[-1], str(level + 1)) in self._numbered else "ul"
            return self._blocks.begin_(kind, level)
        self._blocks.open_(name, "")
        return name


def _plain(element: Element) -> str:
    """Return the text of a note, a space for each sign and between its paragraphs."""
    parts = [" " if element.tag in ("p", "h", *_SIGNS) else "", element.text or ""]
    for each in element:
        parts += ["" if each.tag in _SILENT else _plain(each), each.tail or ""]
    return "".join(parts)


def _value(element: Element, path: str) -> str:
    """Return what the element at a path has for its value, "" where there is none."""
    found = element.find(path)
    return "" if found is None else attribute(found, "val")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 5 else 0


def _is_outline(level: str) -> bool:
    return level.isdecimal() and int(level) < _MAX_LEVELS  # the next one stands for the text itself
