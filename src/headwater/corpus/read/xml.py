"""XML: MediaWiki dumps, XHTML and articles, told apart by their root.

An article is of the elements of JATS, and of DocBook and TEI where they mean the same: they become blocks of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from html.entities import html5
from xml.etree.ElementTree import Element, TreeBuilder
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

MAX_DEPTH = 200  # nothing that was written is nested deeper
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
    root, reader = parse_xml(data), _Reader()
    reader.add_(root)
    text = render(reader.builder.finish_().blocks)
    if not reader.has_paragraph or not text:
        raise Unusable("no_text")
    return text, reader.metadata(attribute(root, "lang"))


def parse_xml(data: bytes) -> Element:
    """Return the root, each element with its name without a prefix.

    What declares entities is refused before any is used. Names that HTML knows (&nbsp;) give their character, and
    nothing is read from elsewhere. Raises Unusable: damaged_xml, declares_entities, too_deep.
    """
    depth, builder = 0, TreeBuilder()

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Unusable("too_deep")
        builder.start(name.rpartition(":")[2], attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition(":")[2])

    def declared(*declaration: object) -> None:
        raise Unusable("declares_entities")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # then a name that isn't declared is passed over, not an error
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = opened, closed, builder.data
    parser.EntityDeclHandler = declared
    parser.SkippedEntityHandler = lambda name, is_dtd: None if is_dtd else builder.data(html5.get(f"{name};", ""))
    parser.ExternalEntityRefHandler = lambda *reference: 1
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unusable("damaged_xml") from error
    return builder.close()


def attribute(element: Element, name: str) -> str:
    """Return the value of an attribute by its name without a prefix, "" where there is none."""
    return next((value for key, value in element.items() if key.rpartition(":")[2] == name), "")


class _Reader:
    """Hands the text of an article to a builder of blocks, and keeps what the front matter says."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.has_paragraph = False
        self._silent_names, self._rights_names, self._cited_names = _names("silent"), _names("rights"), _names("cited")
        self._found: dict[str, str] = {}
        self._licences: list[str] = []  # addresses

    def add_(
        self,
        element: Element,
        around: str = "",
        is_silent: bool = False,
        is_cited: bool = False,
        has_rights: bool = False,
    ) -> None:
        """Add what is in an element that stands in the block `around`, in such a part of the article."""
        name = str(element.tag)
        is_silent |= name in self._silent_names
        is_cited |= name in self._cited_names
        has_rights |= name in self._rights_names
        if name == "license" or (has_rights and name in ("ulink", "ext-link", "link")):
            address = attribute(element, "href") or attribute(element, "url")
            # a license's own address counts, known or not; a link in its words may lead anywhere
            self._licences += [address] if name == "license" or licence_at(address) else []
        key = _by_name("wanted").get(name)
        if key and not is_cited and key not in self._found:
            self._found[key] = " ".join("".join(element.itertext()).split())
        is_inline = name == "code" and around == "p"  # in JATS a block, in DocBook a word
        block = "" if is_silent or is_inline else _by_name("blocks").get(name, "")
        if block:
            self.has_paragraph |= block == "p"
            self.builder.open_(block, "")
        if element.text and not is_silent:
            self.builder.plain_text(element.text)
        for each in element:
            self.add_(each, block, is_silent, is_cited, has_rights)
            if each.tail and not is_silent:
                self.builder.plain_text(each.tail)
        if block:
            self.builder.close_(block)

    def metadata(self, language: str) -> dict[str, str]:
        found = self._found
        parts = [found.get(name, "") for name in ("year", "month", "day")]
        known = parts[: next((at for at, part in enumerate(parts) if not part.isdigit()), 3)]
        return {
            "title": found.get("title", ""),
            "author": " ".join(filter(None, [found.get("given", ""), found.get("surname", "")])),
            "date": "-".join(part.zfill(2) for part in known),
            "licence": stated_licence(self._licences) or stated_licence([found.get("licence", "")]),
            "language": language_of(language),
        }
