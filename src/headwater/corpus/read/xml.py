"""XML: MediaWiki dumps, XHTML and articles, told apart by their root.

An article is of the elements of JATS, and of DocBook and TEI where they mean the same: they become blocks of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from html.entities import html5
from xml.parsers import expat

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.names import licence_at, stated_licence
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_blocks import Builder, render
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.mediawiki import read_dump
from headwater.corpus.toml_tables import keys_by_word, toml_table

MAX_DEPTH = 300
_ROOT = re.compile(
    rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>\s*)*<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)",
    re.DOTALL,
)
_HEAD_BYTES = 100_000


def root_of(head: bytes) -> str:
    """Return the name of the root, without its prefix; raises Unusable(not_xml) where there is none in sight."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    found = _ROOT.match(head.removeprefix(b"\xef\xbb\xbf"))
    if found is None:
        raise Unusable("not_xml")
    return found[1].decode().lower()


def read_xml(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pages of a dump, or one document for an article.

    Raises Unusable: not_xml, damaged_xml, declares_entities, too_deep, no_text, file_too_large, and for what is wrong
    with a compressed file.
    """
    root = root_of(file.head(_HEAD_BYTES))
    if root == "mediawiki":
        yield from read_dump(file, limits)
        return
    data = file.read_whole(limits.max_file_bytes)
    text, meta = page_text(decode(data)) if root == "html" else _article(data)
    yield file.document(text, **meta)


@cache
def _names(what: str) -> frozenset[str]:
    """Return the names of the elements that are silent, of rights or cited."""
    return frozenset(toml_table("headwater.corpus.read", "jats")[what].split())


_by_name = partial(keys_by_word, "headwater.corpus.read", "jats")


def _article(data: bytes) -> tuple[str, dict[str, str]]:
    """Return the title, abstract and body of an article as text, and its metadata.

    Raises Unusable: damaged_xml, declares_entities, too_deep; no_text for XML that has no paragraph.
    """
    reader = _Reader()
    reader.parse(data)
    text = render(reader.builder.finish_().blocks)
    if not reader.has_paragraph or not text:
        raise Unusable("no_text")
    return text, reader.metadata()


def parse_xml(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    """Call these for each element, by its name without a prefix, and for the text in them.

    What declares entities is refused before any is used. Names that HTML knows (&nbsp;) give their character, and
    nothing is read from elsewhere. Raises Unusable: damaged_xml, declares_entities, too_deep.
    """
    depth = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Unusable("too_deep")
        start(name.rpartition(":")[2], attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name.rpartition(":")[2])

    def declared(*declaration: object) -> None:
        raise Unusable("declares_entities")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # then a name that isn't declared is passed over, not an error
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = opened, closed, text
    parser.EntityDeclHandler = declared
    parser.SkippedEntityHandler = lambda name, is_parameter: None if is_parameter else text(html5.get(f"{name};", ""))
    parser.ExternalEntityRefHandler = lambda *reference: 1
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unusable("damaged_xml") from error


class _Reader:
    """Hands the text of an article to a builder of blocks, and keeps what the front matter says."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.has_paragraph = False
        self._silent_names, self._rights_names, self._cited_names = _names("silent"), _names("rights"), _names("cited")
        self._silent = self._cited = 0
        self._blocks: list[str] = []  # of each open element, "" for one that is part of the text around it
        self._kept: dict[str, list[str]] = {}
        self._keeping: tuple[str, int] | None = None  # what is being kept, and how deep its element stands
        self._language = ""
        self._licences: list[str] = []  # addresses
        self._rights = 0

    def parse(self, data: bytes) -> None:
        """Raises Unusable as `parse_xml`."""
        parse_xml(data, self._start, self._end, self._text)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._blocks:
            self._language = attributes.get("xml:lang", attributes.get("lang", ""))
        self._rights += name in self._rights_names
        if name == "license" or (self._rights and name in ("ulink", "ext-link", "link")):
            address = next((value for key, value in attributes.items() if key.endswith(("href", "url"))), "")
            # a license's own address counts, known or not; a link in its words may lead anywhere
            self._licences += [address] if name == "license" or licence_at(address) else []
        self._silent += name in self._silent_names
        self._cited += name in self._cited_names
        is_inline = name == "code" and self._blocks[-1:] == ["p"]  # in JATS a block, in DocBook a word
        block = "" if self._silent or is_inline else _by_name("blocks").get(name, "")
        self._blocks.append(block)
        if block:
            self.has_paragraph |= block == "p"
            self.builder.open_(block, "")
        key = _by_name("wanted").get(name)
        if key and not self._cited and self._keeping is None and key not in self._kept:
            self._keeping = key, len(self._blocks)
            self._kept[key] = []

    def _end(self, name: str) -> None:
        if self._keeping and self._keeping[1] == len(self._blocks):
            self._keeping = None
        if block := self._blocks.pop():
            self.builder.close_(block)
        self._silent -= name in self._silent_names
        self._cited -= name in self._cited_names
        self._rights -= name in self._rights_names

    def _text(self, text: str) -> None:
        if not self._silent:
            self.builder.text(text.replace("&", "&amp;") if "&" in text else text)
        if self._keeping:
            self._kept[self._keeping[0]].append(text)

    def metadata(self) -> dict[str, str]:
        found = {name: " ".join("".join(texts).split()) for name, texts in self._kept.items()}
        parts = [found.get(name, "") for name in ("year", "month", "day")]
        known = parts[: next((at for at, part in enumerate(parts) if not part.isdigit()), 3)]
        return {
            "title": found.get("title", ""),
            "author": " ".join(filter(None, [found.get("given", ""), found.get("surname", "")])),
            "date": "-".join(part.zfill(2) for part in known),
            "licence": stated_licence(self._licences) or stated_licence([found.get("licence", "")]),
            "language": language_of(self._language),
        }
