"""Web pages: the main content as text, with its title; navigation, adverts and scripts stay behind."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile, Unusable
from headwater.corpus.read.json import read_whole
from headwater.corpus.read.text import encoding_of

_ELEMENT = re.compile(r"<\s*(!doctype|html|head|body|title|meta|p|div|span|a|h[1-6]|br|ul|pre|table|article)\b", re.I)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{2,40})""", re.IGNORECASE)


def read_html(file: InputFile, max_file_bytes: int) -> Iterator[Document]:
    """Yield the page's main content. Raises Unusable: not_html, binary, not_utf8, file_too_large."""
    data = read_whole(file, max_file_bytes)
    page = _decode(data)
    if not _ELEMENT.search(page, 0, 100_000):
        raise Unusable("not_html")
    tree = HTMLTree.parse(page)
    title = " ".join((tree.title or "").split())
    text = extract_plain_text(tree, preserve_formatting=True, main_content=True, comments=False)
    if not text.strip():  # a page without paragraphs has no main content by the heuristics
        text = extract_plain_text(tree, preserve_formatting=True)
    if title and title not in text[: len(title) + 200]:
        text = f"{title}\n\n{text}"
    yield file.document(text, **({"title": title} if title else {}))


def _decode(data: bytes) -> str:
    """Decode by byte order mark, as UTF-8, or as the charset that the page declares for itself."""
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError:
        declared = _CHARSET.search(data[:4096])
        try:
            text = data.decode(codecs.lookup(declared[1].decode()).name if declared else "utf-8")
        except (LookupError, UnicodeError):
            raise Unusable("not_utf8") from None
    if "\0" in text:
        raise Unusable("binary")
    return text
