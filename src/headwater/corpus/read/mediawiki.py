"""MediaWiki dumps: the articles, as text; redirects and pages that are no articles are told apart and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import BLOCK_BYTES, InputFile, Stream
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.wikitext import is_redirect, plain_text
from headwater.corpus.read.xml_events import XmlEvents

_KEPT = ("title", "ns", "text", "timestamp", "sitename", "base", "model")


def read_dump(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every page: the last revision of it in the dump.

    Dropped are redirects, pages outside of the main name space, and what isn't wikitext. Read a block at a time, so
    a dump may have any size. Raises Unusable: damaged_xml, declares_entities, too_deep.
    """
    pages = _Pages(limits.max_file_bytes)
    events = XmlEvents(pages.start, pages.end, pages.text)
    number = 0
    with file.open() as stream:
        for _ in events.steps(_blocks(stream)):
            for page in pages.take_():
                if file.begin_record(f"#{number}", _num_bytes(page), page.get("title", "")):
                    yield _piece(file, page, pages, f"#{number}")
                number += 1


def _blocks(stream: Stream) -> Iterator[bytes]:
    while block := stream.read1(BLOCK_BYTES):  # `read` loses what precedes a damage
        yield block


def _piece(file: InputFile, page: dict[str, str], pages: _Pages, part: str) -> Document | Drop:
    text = page.get("text", "")
    size = _num_bytes(page)
    if "too_large" in page:
        return file.drop("file_too_large", size, part)
    if page.get("redirect") or is_redirect(text):
        return file.drop("redirect", size, part)
    if page.get("ns", "0") != "0":
        return file.drop("not_an_article", size, part)
    if page.get("model", "wikitext") != "wikitext":
        return file.drop("not_wikitext", size, part)
    title = page.get("title", "")
    body = plain_text(text)
    return file.document(
        f"{title}\n\n{body}" if body else "",
        part,
        title=title,
        date=page.get("timestamp", "")[:10],
        site=pages.of_wiki.get("sitename", ""),
        language=language_of(pages.of_wiki.get("lang", "")),
        url=_address(pages.of_wiki.get("base", ""), title),
    )


def _num_bytes(page: dict[str, str]) -> int:
    return len(page.get("text", "").encode("utf-8", "surrogatepass"))


def _address(base: str, title: str) -> str:
    """Return the address of a page, from that of the wiki's main page."""
    folder, _, last = base.rpartition("/")
    return f"{folder}/{quote(title.replace(' ', '_'))}" if last and folder.startswith("http") else ""


class _Pages:
    """Collects the pages of a dump from its events."""

    def __init__(self, max_text_bytes: int) -> None:
        self.of_wiki: dict[str, str] = {}
        self._max_characters = max_text_bytes
        self._done: list[dict[str, str]] = []
        self._page: dict[str, str] | None = None
        self._texts: list[str] = []
        self._size = 0
        self._name = ""

    def take_(self) -> list[dict[str, str]]:
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "mediawiki":
            self.of_wiki["lang"] = attributes.get("xml:lang", "")
        elif name == "page":
            self._page = {}
        elif name == "redirect" and self._page is not None:
            self._page["redirect"] = "yes"
        self._name = name if name in _KEPT else ""
        self._texts, self._size = [], 0

    def text(self, text: str) -> None:
        if not self._name:
            return
        self._size += len(text)
        if self._size <= self._max_characters:
            self._texts.append(text)
        elif self._page is not None:
            self._page["too_large"] = "yes"

    def end(self, name: str) -> None:
        if name == "page" and self._page is not None:
            self._done.append(self._page)
            self._page = None
        elif name == self._name:
            (self.of_wiki if self._page is None else self._page)[name] = "".join(self._texts)
        self._name = ""
        self._texts = []
