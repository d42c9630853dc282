"""MediaWiki dumps: the articles, as text; redirects and pages that are no articles are told apart and dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import count
from urllib.parse import quote
from xml.etree import ElementTree

from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import BLOCK_BYTES, InputFile, Stream
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.wikitext import is_redirect, plain_text

_START, _END = b"<page>", b"</page>"  # no other XML has them: in a text they would be &lt;page&gt;
_OF_WIKI = re.compile(r"""<(sitename|base)>([^<]*)</|xml:(lang)=["']([^"']*)""")


def read_dump(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every page: the last revision of it in the dump.

    Dropped are redirects, pages outside of the main name space, and what isn't wikitext; a page that is no XML costs
    itself. Read a block at a time, so a dump may have any size. Raises Unusable: damaged_xml.
    """
    wiki: dict[str, str] = {}
    numbers = count()

    def read(stream: Stream) -> Iterator[Document | Drop]:
        for page, size in _pages(stream, limits.max_file_bytes):
            part = f"#{next(numbers)}"
            head, start, body = page.partition(_START)
            for names in _OF_WIKI.findall(head.decode("utf-8", "replace")):
                wiki.update({names[0] or names[2]: unescape(names[1] or names[3])})
            if not file.begin_record(part, size):
                continue
            if size > limits.max_file_bytes:
                yield file.drop("file_too_large", size, part)
            else:
                yield _piece(file, start + body + _END, size, wiki, part)

    return file.read_on(read)


def _pages(stream: Stream, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield what stands before the end of each page, and its size; of what is too large no more than its end."""
    rest, lost = b"", 0
    while block := stream.read1(BLOCK_BYTES):  # `read` loses what precedes a damage
        *ended, rest = (rest + block).split(_END)
        for page in ended:
            yield page, lost + len(page)
            lost = 0
        if len(rest) > max_bytes:
            lost, rest = lost + len(rest) - len(_END), rest[-len(_END) :]  # half of the end may have come
    if lost or _START in rest or b"</mediawiki" not in rest:
        raise Unusable("damaged_xml")


def _piece(file: InputFile, page: bytes, size: int, wiki: dict[str, str], part: str) -> Document | Drop:
    try:
        root = ElementTree.fromstring(page)  # noqa: S314 - a page alone declares no entities
    except (ElementTree.ParseError, ValueError):
        return file.drop("damaged_xml", size, part)
    *_, revision = [root, *root.findall("revision")]
    text, title = revision.findtext("text") or "", root.findtext("title") or ""
    size = num_bytes(text)
    if root.find("redirect") is not None or is_redirect(text):
        return file.drop("redirect", size, part)
    if root.findtext("ns", "0") != "0":
        return file.drop("not_an_article", size, part)
    if revision.findtext("model", "wikitext") != "wikitext":
        return file.drop("not_wikitext", size, part)
    body = plain_text(text)
    return file.document(
        f"{title}\n\n{body}" if body else "",
        part,
        title=title,
        date=(revision.findtext("timestamp") or "")[:10],
        site=wiki.get("sitename", ""),
        language=language_of(wiki.get("lang", "")),
        url=_address(wiki.get("base", ""), title),
    )


def _address(base: str, title: str) -> str:
    """Return the address of a page, from that of the wiki's main page."""
    folder, _, last = base.rpartition("/")
    return f"{folder}/{quote(title.replace(' ', '_'))}" if last and folder.startswith("http") else ""
