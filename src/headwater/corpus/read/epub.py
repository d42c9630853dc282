"""EPUB books: a document a chapter, in the order of the book's spine, with the book's own metadata."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.names import stated_licence
from headwater.corpus.read.archive import member_bytes, open_zip
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import whole_text
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable
from headwater.corpus.read.xml import parse_xml

_PAGES = ("application/xhtml+xml", "text/html")


def read_epub(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document for each chapter with text; one that can't be read is a drop.

    Raises Unusable: not_epub, damaged_epub, encrypted, file_too_large, expands_too_far.
    """
    data = file.read_whole(limits.max_file_bytes)
    if data[:4] != b"PK\3\4":
        raise Unusable("not_epub")
    expansion = Expansion()
    with open_zip(BytesIO(data), "epub") as book:

        def member(name: str) -> bytes:
            return member_bytes(book, name, limits.max_file_bytes, expansion, len(data))

        try:
            if "META-INF/encryption.xml" in book.NameToInfo and "META-INF/rights.xml" in book.NameToInfo:
                raise Unusable("encrypted")
            container = parse_xml(member("META-INF/container.xml"))
            package_name = next((each.get("full-path", "") for each in container.iter("rootfile")), "")
            package = parse_xml(member(package_name))
        except KeyError:
            raise Unusable("damaged_epub") from None
        meta = _metadata(package)
        for number, name in enumerate(_spine(package, posixpath.dirname(package_name))):
            part = f"#{number}/{name}"
            try:
                text, heading = whole_text(decode(member(name)))
            except KeyError:
                yield file.drop("missing_in_archive", 0, part)
                continue
            except Unusable as error:
                if error.reason == "expands_too_far":
                    raise
                yield file.drop(error.reason, 0, part)
                continue
            if text:
                title = " — ".join(filter(None, dict.fromkeys([meta["title"], heading])))
                yield file.document(text, part, group=file.origin, **{**meta, "title": title})


def _metadata(package: Element) -> dict[str, str]:
    """Return title, author, language, date and licence: the first of each that the package names, or is understood."""
    found: dict[str, list[str]] = {name: [] for name in ("title", "creator", "language", "date", "rights")}
    for each in package.iter():
        if each.tag in found:
            found[each.tag].append(" ".join((each.text or "").split()))
    first = {name: next(iter(texts), "") for name, texts in found.items()}
    return {
        "title": first["title"],
        "author": first["creator"],
        "language": language_of(first["language"]),
        "date": iso_date(first["date"]),
        "licence": stated_licence(found["rights"]),
    }


def _spine(package: Element, folder: str) -> list[str]:
    """Return the names of the pages in the spine's order, each once; the table of contents is none of them."""
    pages: dict[str, str] = {}  # by the id of an item; several may name places in one page
    contents = set()
    for item in package.iter("item"):
        page, _, _ = item.get("href", "").partition("#")
        if item.get("media-type") in _PAGES and page:
            pages[item.get("id", "")] = name = posixpath.normpath(posixpath.join(folder, unquote(page)))
            if "nav" in item.get("properties", "").split():
                contents.add(name)
    ids = (each.get("idref", "") for each in package.iter("itemref"))
    return list(dict.fromkeys(pages[each] for each in ids if each in pages and pages[each] not in contents))
