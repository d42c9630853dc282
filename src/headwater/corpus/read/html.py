"""Web pages: the main content as text, with its title; navigation, adverts and scripts stay behind."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import DOMException, HTMLParserException, HTMLTree, NodeType

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.json import read_whole
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.text import encoding_of

_ELEMENT = re.compile(r"<\s*(!doctype|html|head|body|title|meta|p|div|span|a|h[1-6]|br|ul|pre|table|article)\b", re.I)
_NAME = re.compile(r"/?[a-z][a-z0-9-]*", re.IGNORECASE)
# elements that need no end tag: they are not nested however often they are opened
_END_LEFT_OUT = (
    "p li dd dt tr td th thead tbody tfoot option optgroup br img hr input meta link area base col colgroup embed "
    "source track wbr html head body rt rp param"
)
_NO_END = frozenset(_END_LEFT_OUT.split())
MAX_DEPTH = 300  # the heuristics take seconds for a page nested ten thousand deep and hours for a deeper one
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{2,40})""", re.IGNORECASE)
# codecs of texts: "punycode" and "idna" take the square of the length, "unicode_escape" reads what isn't shown
_CHARSETS = (
    *("ascii", "big5", "cp", "euc", "gb", "hz", "iso2022", "iso8859", "johab", "koi8", "mac-", "shift_jis", "tis-"),
    "utf-",
)
_AFTER_BRACKET = re.compile("<([^<]*)")

# resiliparse's stubs give every node the type of the plainest one
Node = Any


def read_html(file: InputFile, max_file_bytes: int) -> Iterator[Document]:
    """Yield the page's main content.

    Raises Unusable: not_html, damaged_html, binary, not_utf8, too_deep, file_too_large.
    """
    page = _decode(read_whole(file, max_file_bytes))
    if not _ELEMENT.search(page, 0, 100_000):
        raise Unusable("not_html")
    if depth(page) > MAX_DEPTH:
        raise Unusable("too_deep")
    try:
        tree = HTMLTree.parse(page)
        title = " ".join((tree.title or "").split())
        text = main_content(tree)
    except (HTMLParserException, DOMException) as error:
        raise Unusable("damaged_html") from error
    if title and title not in text[: len(title) + 200]:
        text = f"{title}\n\n{text}"
    yield file.document(text, **({"title": title} if title else {}))


def depth(page: str) -> int:
    """Return how deep the elements of a page are nested, as its tags say. Takes time in proportion to the page."""
    deepest = now = 0
    waiting_for = ""  # the end of a script or a comment: what looks like a tag in it is none
    for match_after in _AFTER_BRACKET.finditer(page):  # one at a time: a split page takes fifty times its size
        piece = match_after[1]
        name = match.group().lower() if (match := _NAME.match(piece)) else piece[:3]
        if waiting_for:
            waiting_for = "" if name == waiting_for or waiting_for in piece else waiting_for
        elif name in ("script", "style"):
            waiting_for = f"/{name}"
        elif name == "!--":
            waiting_for = "" if "-->" in piece else "-->"
        elif name[:1] == "/":
            now -= now > 0 and name[1:] not in _NO_END
        elif match and name not in _NO_END and "/>" not in piece[:1000]:
            now += 1
            deepest = max(deepest, now)
    return deepest


def main_content(tree: HTMLTree) -> str:
    """Return the main content as text; everything visible for a page where the heuristics find none.

    resiliparse 2.0 takes every <ul> for a menu. Those that aren't mostly links are made into plain blocks first.
    """
    for item in reversed(list(tree.body.query_selector_all("ul")) if tree.body else []):
        if not _is_menu(item):
            _replace_list_(tree, item)
    text = extract_plain_text(tree, preserve_formatting=True, main_content=True, comments=False)
    return text if text.strip() else extract_plain_text(tree, preserve_formatting=True)


def _is_menu(element: Node) -> bool:
    linked = sum(len(link.text) for link in element.get_elements_by_tag_name("a"))
    return 2 * linked > len(element.text)


def _replace_list_(tree: HTMLTree, element: Node) -> None:
    block: Node = tree.create_element("div")
    for name in element.attrs:  # a class that says "sidebar" still counts
        block[name] = element[name]
    for item in list(element.child_nodes):
        if item.tag == "li" and item.type == NodeType.ELEMENT:  # "<?li>" has that tag, too
            first = item.first_element_child
            # the dash goes into the paragraph that an item may begin with
            (first if first and first.tag == "p" else item).prepend(tree.create_text_node("- "))
            line: Node = tree.create_element("div")
            for child in list(item.child_nodes):
                line.append_child(child)
            block.append_child(line)
        else:
            block.append_child(item)
    element.replace_with(block)


def _decode(data: bytes) -> str:
    """Decode by byte order mark, as UTF-8, or as the charset that the page declares for itself."""
    encoding = encoding_of(data)
    if encoding.startswith("utf-8") and b"\0" in data:
        raise Unusable("binary")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        declared = _CHARSET.search(data[:4096])
        try:
            text = data.decode(_charset(declared[1].decode()) if declared else "utf-8")
        except (LookupError, UnicodeError):
            raise Unusable("not_utf8") from None
    if "\0" in text:
        raise Unusable("binary")
    return text


def _charset(declared: str) -> str:
    """Return Python's name of a charset; raise LookupError for one that no page is written in."""
    name = codecs.lookup(declared).name
    if not name.startswith(_CHARSETS):
        raise LookupError(declared)
    return name
