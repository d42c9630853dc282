"""A web page as a row of blocks (paragraphs, headings, items, rows, code) and the containers that hold them, with what
an element's name, class, id and role say of its content.

The page comes from a parser that has balanced its tags and escaped its text, so one pattern finds every tag. White
space is collapsed as a browser does, except in preformatted text, which stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from html import unescape

from headwater.corpus.read.limits import Unusable
from headwater.corpus.toml_tables import toml_table

MAIN, ARTICLE, BODY, NOISE, FOOT, COMMENTS = 1, 2, 4, 8, 16, 64

_NAMED = re.compile(r' (class|id|role|itemprop)="([^"]*)"')
_HIDDEN = re.compile(r' (?:hidden=""|aria-hidden="true"|style="[^"]*display: ?none)')
_SPLIT = re.compile(r"[\s_-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


_MAX_CACHED_CHARACTERS = 500  # what is cached stays in memory behind the page
MAX_DEPTH = 300  # no page that was written is nested deeper; one that was made to be takes the parser's stack

_CONTAINERS = "body div section article main aside header footer nav form figure details dl ul ol dir menu table center"
_BLOCKS = "p h1 h2 h3 h4 h5 h6 pre blockquote address dt dd li tr td th caption figcaption summary hr br legend a"
_NAMES = "|".join((_CONTAINERS + " " + _BLOCKS).split())
# what is never text, and the marks that a page shows beside it: numbers of lines and paragraphs, "edit", links to the
# line itself and to its source code
_NO_TEXT = re.compile(
    r"<!--.*?-->"
    r"|<(script|style|noscript|template|svg|iframe|object|canvas|audio|video|button|select|textarea|"
    r"xmp|noembed|noframes|plaintext)[ >].*?</\1>"
    r'|<(a|td|span|label) class="(?:headerlink|linenos|viewcode-link|viewcode-back|ocn)"[^>]*>.*?</\2>'
    r'|<(a|span) class="(?:anchor|mark)"[^>]*>(?:<[^>]*>|[^<\w]|[\d_])*</\3>'  # with words they are a heading, or text
    r'|<span class="mw-editsection">.{0,500}?</span></span>',
    re.DOTALL,
)
# a name followed by =" is that of an attribute, which may begin with <, too
_INLINE = re.compile(rf'<(?!/?(?:{_NAMES})[ >])(?:[!?][^>]*|/?[a-zA-Z][^\s>=]*(?:=(?!")[^\s>=]*)*(?: [^>]*)?)>')
_TAG = re.compile(rf"<(/?)({_NAMES})((?: [^>]*)?)>")
_ICONS = re.compile("[\ue000-\uf8ff]+")  # fonts of icons show them; no text has them
_BREAK = "\0"  # where a line ends within a block; no page holds this character
_LISTS = frozenset(["ul", "ol", "dir", "menu"])
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6", "caption"]
_KIND = {**dict.fromkeys(_HEADINGS, "heading"), "dt": "term", "dd": "definition"}


def marks_of(name: str, attributes: str) -> int:
    """Return the marks of an element with these attributes, as they are serialised."""
    return (_marks_of if len(attributes) <= _MAX_CACHED_CHARACTERS else _marks_of.__wrapped__)(name, attributes)


@lru_cache(maxsize=1000)  # pages use the same few attributes over and over
def _marks_of(name: str, attributes: str) -> int:
    marks = {"main": MAIN, "article": ARTICLE, "footer": FOOT, "aside": FOOT}.get(name, 0)
    if _HIDDEN.search(attributes):
        marks |= NOISE
    for key, value in _NAMED.findall(attributes) if attributes else ():
        if key == "role":
            marks |= MAIN if value == "main" else ARTICLE if value == "article" else 0
            marks |= NOISE if value in ("navigation", "search", "banner", "contentinfo", "complementary") else 0
        elif key == "itemprop":
            marks |= BODY if value in ("articleBody", "text") else 0
        elif key == "id" and name == "section":  # made of its heading, which may be of cookies or of menus
            marks |= _word_marks(value) & COMMENTS
        else:
            marks |= _word_marks(value)
    return marks & ~(NOISE | FOOT | COMMENTS) if marks & _KEPT else marks


_KEPT = 32


@cache
def _words() -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in toml_table("headwater.corpus.read", "html_marks").items()}


def _word_marks(value: str) -> int:
    whole, listed = value.lower().split(), _words()
    words = {word.lower() for word in _SPLIT.split(_CAMEL.sub(" ", value))} | set(whole)
    marks = NOISE if words & listed["noise"] else 0
    marks |= FOOT if "footer" in words else 0
    marks |= COMMENTS if words & listed["comments"] else 0
    marks |= BODY if not listed["body"].isdisjoint(whole) else 0
    return marks | (_KEPT if words & listed["content"] else 0)


@dataclass(slots=True)
class Block:
    """A piece of text between two boundaries. `linked` of its characters are those of links, `num_links` in number."""

    text: str
    kind: str
    linked: int
    num_links: int
    prefix: str = ""
    indent: int = 0


@dataclass(slots=True)
class Container:
    """An element that holds blocks: those from `start` to `end`."""

    name: str
    marks: int
    start: int
    end: int = -1


@dataclass(slots=True)
class Page:
    blocks: list[Block] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)


def blocks_of(html: str) -> Page:
    """Return the blocks of serialised HTML; raises Unusable: too_deep."""
    pieces = _TAG.split(_INLINE.sub("", _NO_TEXT.sub("", html)))
    builder = Builder()
    builder.text(pieces[0])
    for slash, name, attributes, text in zip(pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4]):
        if slash:
            builder.close_(name)
        else:
            builder.open_(name, attributes)
        if text:
            builder.text(text)
    return builder.finish_()


class Builder:
    """Takes tags and texts in order and makes blocks of them."""

    def __init__(self) -> None:
        self.page = Page()
        self.open_containers: list[Container] = []
        self._texts: list[str] = []
        self._linked = self._num_links = 0
        self._in_link = False
        self._kind = "paragraph"
        self._pre = 0
        self._prefix = ""
        self._lists: list[list[int]] = []  # of each open list the number of its last item; -1 where it has bullets
        self._rows: list[_Row] = []

    def finish_(self) -> Page:
        """Return the page, everything in it closed."""
        self.flush_()
        for container in self.open_containers:
            container.end = len(self.page.blocks)
        return self.page

    def text(self, text: str) -> None:
        """Take text as HTML spells it."""
        self._texts.append(text)
        if self._in_link:
            self._linked += len(text)

    def plain_text(self, text: str) -> None:
        """Take text as it is."""
        self.text(text.replace("&", "&amp;") if "&" in text else text)

    def open_(self, name: str, attributes: str) -> None:
        if name == "a":
            self._in_link = True
            self._num_links += 1
            return
        if name == "br":
            self._texts.append("\n" if self._pre else _BREAK)
            return
        self.flush_()
        if name in _OPENED_SPECIALLY:
            self._open_special_(name)
        elif name in _KIND:
            self._kind = _KIND[name]
        if name in _CONTAINER_NAMES:
            self._open_container_(name, attributes)

    def _open_special_(self, name: str) -> None:
        if name == "pre":
            self._pre += 1
        elif name == "li":
            if self._lists:
                numbers = self._lists[-1]
                numbers[0] += numbers[0] >= 0
                self._prefix = f"{numbers[0]}. " if numbers[0] > 0 else "- "
        elif name in _LISTS:
            self._lists.append([0 if name == "ol" else -1])
        elif name == "tr":
            self._rows.append(_Row(len(self.page.blocks), len(self.page.containers), self._innermost()))
        elif self._rows:  # td, th
            self._rows[-1].cells.append(len(self.page.blocks))

    def _open_container_(self, name: str, attributes: str) -> None:
        if len(self.open_containers) > MAX_DEPTH:
            raise Unusable("too_deep")
        container = Container(name, marks_of(name, attributes), len(self.page.blocks))
        self.open_containers.append(container)
        self.page.containers.append(container)

    def close_(self, name: str) -> None:
        if name == "a":
            self._in_link = False
            return
        self.flush_()
        if name in _KIND:
            self._kind = "paragraph"
        elif name == "pre":
            self._pre -= self._pre > 0
        elif name == "li":
            self._prefix = ""
        elif name == "tr" and self._rows:
            self._close_row_(self._rows.pop())
        if name in _LISTS and self._lists:
            self._lists.pop()
        if name in _CONTAINER_NAMES and self.open_containers:
            self.open_containers.pop().end = len(self.page.blocks)

    def _innermost(self) -> Container | None:
        return self.open_containers[-1] if self.open_containers else None

    def flush_(self) -> None:
        """End the block that is being collected, if there is anything in it."""
        texts = self._texts
        if not texts:
            return
        raw = texts[0] if len(texts) == 1 else "".join(texts)
        linked, num_links = self._linked, self._num_links
        self._texts, self._linked, self._num_links = [], 0, 0
        if not raw or raw.isspace():
            return
        text = unescape(raw) if "&" in raw else raw
        if not text.isascii() and _ICONS.search(text):
            text = _ICONS.sub("", text)
            text = text if any(map(str.isalnum, text)) else ""
        if self._pre:
            text = text.replace(_BREAK, "\n").strip("\n")
        elif _BREAK in text:
            text = "\n".join(filter(None, (" ".join(line.split()) for line in text.split(_BREAK))))
        else:
            text = " ".join(text.split())
        if text:
            kind = "code" if self._pre else "item" if self._prefix else self._kind
            indent = 2 * max(0, len(self._lists) - 1) + (2 if self._lists and not self._prefix else 0)
            self.page.blocks.append(Block(text, kind, linked, num_links, self._prefix, indent))
            self._prefix = ""

    def _close_row_(self, row: _Row) -> None:
        """Make one block of a row of plain cells; a row that lays out a page stays the blocks it is."""
        blocks = self.page.blocks
        found = blocks[row.start :]
        if self._innermost() is not row.container:  # one ended in the row that began before it: tags of markup cut out
            return
        plain = ("paragraph", "heading", "item")
        if len(row.cells) < 2 or len(found) > len(row.cells) or any(block.kind not in plain for block in found):
            return
        inner = self.page.containers[row.first_container :]
        if any(each.end != each.start for each in inner):
            return
        for each in inner:  # empty ones
            each.start = each.end = row.start
        ends = [*row.cells[1:], len(blocks)]
        cells = [
            " ".join(block.text for block in blocks[at:end]).replace("\n", " ") for at, end in zip(row.cells, ends)
        ]
        text = " | ".join(cells).strip()
        del blocks[row.start :]
        if text.strip("| "):
            linked, num_links = sum(block.linked for block in found), sum(block.num_links for block in found)
            blocks.append(Block(text, "row", linked, num_links))


@dataclass(slots=True)
class _Row:
    start: int
    first_container: int
    container: Container | None
    cells: list[int] = field(default_factory=list)


_CONTAINER_NAMES = frozenset(_CONTAINERS.split())
_OPENED_SPECIALLY = _LISTS | {"pre", "li", "tr", "td", "th"}


def render(blocks: list[Block]) -> str:
    """Return blocks as text: a blank line between them, none between the items of a list or the rows of a table."""
    parts: list[str] = []
    before = ""
    for block in blocks:
        if parts:
            parts.append("\n" if (before, block.kind) in _CLOSE else "\n\n")
        before = block.kind
        text = block.text
        if block.indent and block.kind != "code":
            parts.append(" " * block.indent)
        indent = block.indent if block.kind != "code" else 0
        parts.append(block.prefix + text.replace("\n", "\n" + " " * (indent + len(block.prefix))))
    return "".join(parts)


_CLOSE = {("item", "item"), ("row", "row"), ("term", "term"), ("term", "definition"), ("heading", "row")}
