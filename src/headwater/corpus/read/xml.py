"""XML: MediaWiki dumps, articles (JATS, DocBook, TEI and their like) and XHTML, told apart by their root."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import page_text
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.jats import article
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.mediawiki import read_dump
from headwater.corpus.read.xml_events import root_of

_HEAD_BYTES = 100_000


def read_xml(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pages of a dump, or one document for an article.

    Raises Unusable: not_xml, damaged_xml, declares_entities, too_deep, no_text, file_too_large, and for what is wrong
    with a compressed file.
    """
    root = root_of(file.head(_HEAD_BYTES))
    if root == "mediawiki":
        yield from read_dump(file, limits)
    elif root == "html":
        text, meta = page_text(decode(file.read_whole(limits.max_file_bytes)))
        yield file.document(text, **meta)
    else:
        text, meta = article(file.read_whole(limits.max_file_bytes))
        if not text:
            raise Unusable("no_text")
        yield file.document(text, **meta)
