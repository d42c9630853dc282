"""Web pages: the main content as text, with its title; navigation, adverts and scripts stay behind.

resiliparse parses a page and writes it again, balanced; blocks, content, tables and code are ours, by patterns over it
(13 to 43 MB/s; through the tree 7). Its own search for the main content loses what stands around lists. On news pages
headlines, bylines and captions stay, where trafilatura removes more.

Three questions tell the main content, from the outside in: which containers say that they are something else
(navigation, sharing, adverts); which one holds the text (it says so, or is the smallest with nearly all the prose);
which lists in it are only links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from resiliparse.parse.html import DOMException, HTMLParserException, HTMLTree

from headwater.corpus.document import Document
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html_blocks import (
    ARTICLE,
    BODY,
    COMMENTS,
    FOOT,
    MAIN,
    NOISE,
    Block,
    Container,
    Page,
    blocks_of,
    render,
)
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


_PROSE_CHARACTERS = 80  # a shorter block may be anything
_MAX_NOISE, _MAX_COMMENTS = 0.4, 0.9  # of the prose: a container that holds more is the content, whatever its name
_MIN_MAIN, _MIN_ARTICLE = 0.1, 0.5  # of the prose that is no noise, in a container that calls itself one
_MOST = 0.85  # of the prose, in the smallest container that is taken for the content
_LINKS, _LINKS_IN_MAIN = 0.6, 0.85  # of a list's characters: a list with more is a menu
_LINKS_OF_POINTER = 0.7  # of a paragraph's characters
_LISTS = frozenset(["ul", "ol", "dir", "menu", "dl", "table"])
_GROUPS = _LISTS | {"div", "section", "aside", "header", "form"}


def main_blocks(page: Page) -> list[Block]:
    """Return the blocks of the main content, in order; where that has none, all that is no navigation, or all."""
    sums = _Sums(page.blocks)
    kept = [True] * len(page.blocks)
    _drop_noise_(page, sums, kept)
    no_noise = [block for block, is_kept in zip(page.blocks, kept) if is_kept]
    if not _drop_around_(page, kept):
        _drop_menus_(page, sums, kept, _GROUPS, _LINKS)
        _keep_only_([_smallest(page, kept)], kept, 0, len(kept))
    else:
        _drop_menus_(page, sums, kept, _LISTS, _LINKS_IN_MAIN)
    found = [block for block, is_kept in zip(page.blocks, kept) if is_kept and not _is_pointer(block)]
    return found or no_noise or page.blocks


def _is_pointer(block: Block) -> bool:
    """Return whether a paragraph is hardly more than a link: to another article, to a profile, to the page itself."""
    return block.kind == "paragraph" and block.num_links > 0 and block.linked > _LINKS_OF_POINTER * len(block.text)


class _Sums:
    """Sums over the blocks before each: characters, those in links, links, and characters of prose."""

    def __init__(self, blocks: list[Block], kept: list[bool] | None = None) -> None:
        if kept is not None:
            blocks = [block if is_kept else _NOTHING for block, is_kept in zip(blocks, kept)]
        self.characters = _added(len(block.text) for block in blocks)
        self.linked = _added(min(block.linked, len(block.text)) for block in blocks)
        self.links = _added(block.num_links for block in blocks)
        self.prose = _added(_prose(block) for block in blocks)


_NOTHING = Block("", "paragraph", 0, 0)


def _added(values: Iterable[int]) -> list[int]:
    return list(accumulate(values, initial=0))


def _within(sums: list[int], each: Container) -> int:
    return sums[each.end] - sums[each.start]


def _prose(block: Block) -> int:
    if block.kind == "code":
        return len(block.text)
    return len(block.text) - block.linked if len(block.text) - block.linked >= _PROSE_CHARACTERS else 0


def _drop_noise_(page: Page, sums: _Sums, kept: list[bool]) -> None:
    total = max(1, sums.prose[-1])
    mains = [each for each in page.containers if each.marks & MAIN and _within(sums.characters, each)]
    for each in page.containers:
        share = _within(sums.prose, each) / total
        is_noise = each.marks & (NOISE | FOOT) and share < _MAX_NOISE
        is_noise = is_noise or (each.marks & FOOT and each.name != "aside" and _is_beside(each, mains))
        if is_noise or each.name == "nav" or (each.marks & COMMENTS and share < _MAX_COMMENTS):
            _drop_(each, kept)


def _is_beside(each: Container, mains: list[Container]) -> bool:
    """Return whether there are containers that say they hold the content, and this one overlaps none of them."""
    return bool(mains) and all(each.end <= main.start or each.start >= main.end for main in mains)


def _drop_(each: Container, kept: list[bool]) -> None:
    kept[each.start : each.end] = [False] * (each.end - each.start)


def _drop_around_(page: Page, kept: list[bool]) -> bool:
    """Drop what is outside of the container that says it holds the content; return whether there is one."""
    start, end = 0, len(kept)
    is_found = False
    for mark, least in ((MAIN, _MIN_MAIN), (ARTICLE, _MIN_ARTICLE), (BODY, _MIN_ARTICLE)):
        inside = [each for each in page.containers if each.marks & mark and start <= each.start and each.end <= end]
        if not inside:
            continue
        sums = _Sums(page.blocks, kept)
        # a page without prose may still say where its few words are
        has_prose = sums.prose[end] > sums.prose[start]
        if not has_prose and mark != MAIN:
            continue
        measure = sums.prose if has_prose else sums.characters
        outer = [each for each in _outermost(inside) if _within(measure, each)]
        share = sum(_within(measure, each) for each in outer) / max(1, measure[end] - measure[start])
        if outer and (share >= least or not has_prose):
            _keep_only_(outer, kept, start, end)
            start, end, is_found = outer[0].start, outer[-1].end, True
    return is_found


def _outermost(containers: list[Container]) -> list[Container]:
    found: list[Container] = []
    for each in containers:  # in the order in which they begin
        if not found or each.start >= found[-1].end:
            found.append(each)
    return found


def _keep_only_(containers: list[Container], kept: list[bool], start: int, end: int) -> None:
    at = start
    for each in containers:
        kept[at : each.start] = [False] * (each.start - at)
        at = each.end
    kept[at:end] = [False] * (end - at)


def _smallest(page: Page, kept: list[bool]) -> Container:
    """Return the smallest container with nearly all of the prose, or one around it that adds hardly any links."""
    sums = _Sums(page.blocks, kept)
    whole = Container("body", 0, 0, len(page.blocks))
    fits = [each for each in page.containers if _within(sums.prose, each) >= _MOST * sums.prose[-1]]
    if not sums.prose[-1] or not fits:
        return whole
    chosen = fits[-1]  # each lies in the one before
    for each in reversed(fits[:-1]):
        added = _within(sums.characters, each) - _within(sums.characters, chosen)
        if _within(sums.linked, each) - _within(sums.linked, chosen) > 0.2 * added:
            break
        chosen = each
    return chosen


def _drop_menus_(page: Page, sums: _Sums, kept: list[bool], names: frozenset[str], share: float) -> None:
    for each in page.containers:
        is_linked = _within(sums.linked, each) > share * _within(sums.characters, each)
        if each.name in names and is_linked and _within(sums.links, each) > 1:
            _drop_(each, kept)
