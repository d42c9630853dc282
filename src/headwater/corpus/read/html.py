"""Web pages: the main content as text, with its title; navigation, adverts and scripts stay behind.

resiliparse parses a page and writes it again, balanced; blocks, content, tables and code are ours, by patterns over it
(13 to 43 MB/s; through the tree 7). Its own search for the main content loses what stands around lists. On news pages
headlines, bylines and captions stay, where trafilatura removes more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from resiliparse.parse.html import DOMException, HTMLParserException, HTMLTree

from headwater.corpus.document import Document
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html_blocks import blocks_of, render
from headwater.corpus.read.html_content import main_blocks
from headwater.corpus.read.html_metadata import head_metadata
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable

_ELEMENT = re.compile(r"<\s*(!doctype|html|head|body|title|meta|p|div|span|a|h[1-6]|br|ul|pre|table|article)\b", re.I)
# in XML an element may end where it begins; a page's parser would take it for one that stays open
_IS_XML = re.compile(r"\s*<\?xml\b|\s*<!doctype[^>]{0,100}xhtml", re.IGNORECASE)
_ENDED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([a-zA-Z][\w:-]{0,30})((?:\s[^<>]*)?)/>"
)


def read_html(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the page's main content.

    Raises Unusable: not_html, damaged_html, binary, not_utf8, too_deep, file_too_large.
    """
    page = decode(file.read_whole(limits.max_file_bytes))
    if not _ELEMENT.search(page, 0, 100_000):
        raise Unusable("not_html")
    text, meta = page_text(page)
    yield file.document(text, **meta)


def page_text(page: str) -> tuple[str, dict[str, str]]:
    """Return the main content of a page as text, under its title, and its metadata.

    Raises Unusable: damaged_html, too_deep.
    """
    head, body, language = _parsed(page)
    blocks = main_blocks(blocks_of(body))
    text, meta = render(blocks), head_metadata(head, language, body)
    title = meta.get("title", "")
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    if heading and heading in title:  # the rest names the site
        meta["title"] = title = heading
    if title and title not in text[: len(title) + 200]:
        text = f"{title}\n\n{text}"
    return text, meta


def whole_text(page: str) -> tuple[str, str]:
    """Return all the text of a page that has nothing beside its content, as a book's, and its first heading."""
    blocks = blocks_of(_parsed(page)[1]).blocks
    heading = next((block.text for block in blocks if block.kind == "heading"), "")
    return render(blocks), heading


def _parsed(page: str) -> tuple[str, str, str]:
    """Return the head and the body of a page, serialised, and the language that its root names."""
    if _IS_XML.match(page):
        page = _ENDED.sub(r"<\1\2></\1>", page)
    try:
        tree = HTMLTree.parse(page)
        head, body = tree.head.html if tree.head else "", tree.body.html if tree.body else ""
        roots = tree.document.get_elements_by_tag_name("html") if tree.document else []
        return head, body, (roots[0].getattr("lang") if roots else "") or ""
    except (HTMLParserException, DOMException) as error:
        raise Unusable("damaged_html") from error
