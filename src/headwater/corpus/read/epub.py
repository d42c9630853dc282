"""EPUB books: a document a chapter, in the order of the book's spine, with the book's own metadata."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from urllib.parse import unquote

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.names import stated_licence
from headwater.corpus.read.archive import member_bytes, open_zip
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import whole_text
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable

# namespaces have prefixes of the author's choosing; a document type is what makes entities expand, and is passed over
_ROOTFILE = re.compile(r"<(?:\w+:)?rootfile\b[^>]*?\bfull-path=[\"']([^\"']+)")
_ELEMENTS = "title|creator|language|date|rights"
_ELEMENT = re.compile(rf"<(?:\w+:)?({_ELEMENTS})\b[^>]*>([^<]*)<")
_ITEM = re.compile(r"<(?:\w+:)?item\b([^>]*)>")
_ITEMREF = re.compile(r"<(?:\w+:)?itemref\b([^>]*)>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*[\"']([^\"']*)[\"']")
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
        try:
            if "META-INF/encryption.xml" in book.NameToInfo and "META-INF/rights.xml" in book.NameToInfo:
                raise Unusable("encrypted")
            rootfile = _ROOTFILE.search(_text(book, "META-INF/container.xml", limits, expansion, len(data)))
            package_name = unescape(rootfile[1] if rootfile else "")
            package = _text(book, package_name, limits, expansion, len(data))
        except KeyError:
            raise Unusable("damaged_epub") from None
        meta = _metadata(package)
        for number, name in enumerate(_spine(package, posixpath.dirname(package_name))):
            part = f"#{number}/{name}"
            try:
                page = member_bytes(book, name, limits.max_file_bytes, expansion, len(data))
                text, heading = whole_text(decode(page))
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


def _text(book: zipfile.ZipFile, name: str, limits: ReadLimits, expansion: Expansion, num_bytes: int) -> str:
    return member_bytes(book, name, limits.max_file_bytes, expansion, num_bytes).decode("utf-8", "replace")


def _metadata(package: str) -> dict[str, str]:
    """Return title, author, language, date and licence: the first of each that the package names, or is understood."""
    elements: dict[str, list[str]] = {name: [] for name in _ELEMENTS.split("|")}
    for name, text in _ELEMENT.findall(package):
        elements[name].append(" ".join(unescape(text).split()))
    first = {name: next(iter(texts), "") for name, texts in elements.items()}
    return {
        "title": first["title"],
        "author": first["creator"],
        "language": language_of(first["language"]),
        "date": iso_date(first["date"]),
        "licence": stated_licence(elements["rights"]),
    }


def _spine(package: str, folder: str) -> list[str]:
    """Return the names of the pages in the spine's order, each once; the table of contents is none of them."""
    pages: dict[str, str] = {}  # by the id of an item; several may name places in one page
    contents = set()
    for attributes in _ITEM.findall(package):
        item = dict(_ATTRIBUTE.findall(attributes))
        if item.get("media-type") in _PAGES and "href" in item:
            page, _, _ = unescape(item["href"]).partition("#")
            pages[item.get("id", "")] = name = posixpath.normpath(posixpath.join(folder, unquote(page)))
            if "nav" in item.get("properties", "").split():
                contents.add(name)
    ids = (dict(_ATTRIBUTE.findall(attributes)).get("idref", "") for attributes in _ITEMREF.findall(package))
    return list(dict.fromkeys(pages[each] for each in ids if each in pages and pages[each] not in contents))
