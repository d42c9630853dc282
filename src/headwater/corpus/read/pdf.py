"""PDF: the text of the pages as paragraphs; running heads and page numbers stay behind.

A PDF holds letters at places, no paragraphs. Lines are joined where they fill their column and the next one follows
at the usual distance, hyphens at their ends are undone, and lines that stand at the top or the bottom of many pages
alike are dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import pypdfium2

from headwater.corpus.document import Document
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, ReadLimits, Unusable
from headwater.corpus.read.unwrap import join_lines, words_within

_EDGE_LINES = 2  # the highest and the lowest of a page, among which running heads are looked for
_MIN_REPEATS = 3  # pages that a running head stands on
_FULL_SHARE = 0.8  # of its column: a shorter line ends its paragraph
_GAP = 1.35  # times the usual distance of lines: a wider one is between paragraphs
_PDF_DATE = re.compile(r"D:(\d{4})(\d{2})(\d{2})")
_DIGITS = re.compile(r"\d+")
_ROMAN = re.compile(r"[ivxlc]{1,7}", re.IGNORECASE)
_LEADER = re.compile(r"(?:\. ?){5,}\s*[\dIVXLCivxlc]*\s*$")  # dots that lead to a page number: a table of contents
_BULLET = re.compile(r"(?:[•◦▪·∗*–—-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")


@dataclass(slots=True)
class Line:
    """A line of a page: its text, where it begins and ends, where it stands, and how high its letters are."""

    text: str
    left: float
    right: float
    bottom: float
    height: float
    is_hyphenated: bool


def read_pdf(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    """Yield the file as one document, cut only by the limit on its length.

    Raises Unusable: not_pdf, damaged_pdf, encrypted, no_text, file_too_large, expands_too_far.
    """
    data = file.read_whole(limits.max_file_bytes)
    if b"%PDF-" not in data[:1024]:
        raise Unusable("not_pdf")
    try:
        with pypdfium2.PdfDocument(data) as book:
            pages = list(_pages(book, len(data)))
            properties = book.get_metadata_dict(skip_empty=True)
    except pypdfium2.PdfiumError as error:
        raise Unusable("encrypted" if "password" in str(error).lower() else "damaged_pdf") from error
    if not any(pages):
        raise Unusable("no_text")  # pictures of pages, or no pages
    title, author = (" ".join(properties.get(name, "").split()) for name in ("Title", "Author"))
    date = _PDF_DATE.match(properties.get("CreationDate", ""))
    yield file.document(
        text_of(pages),
        title=title,
        author=author,
        date="-".join(date.groups()) if date else "",
        language=language_of(properties.get("Lang", "")),
    )


def _pages(book: pypdfium2.PdfDocument, num_bytes: int) -> Iterator[list[Line]]:
    expansion = Expansion()
    for number in range(len(book)):
        page = book[number]
        text_page = page.get_textpage()
        lines = list(_lines(text_page))
        expansion.add_(64 + sum(len(line.text) for line in lines), num_bytes)  # pages may be one page, many times
        yield lines
        text_page.close()
        page.close()


def _lines(page: Any) -> Iterator[Line]:
    text = page.get_text_range()
    if len(text) != page.count_chars():  # letters beyond the first 65,536 take two places: their boxes are elsewhere
        text = "".join(character if ord(character) < 0x10000 else character + "\0" for character in text)
    at = 0
    for piece in re.split("(\r?\n|[\ufffe\x02])", text):
        start, at = at, at + len(piece)
        if not piece.strip() or piece in ("\ufffe", "\x02"):
            continue
        first, last = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()) - 1
        try:
            left, bottom, _, top = page.get_charbox(first, loose=True)
            right = page.get_charbox(last, loose=True)[2]
        except (pypdfium2.PdfiumError, ValueError, IndexError):
            left = bottom = right = top = 0.0
        is_hyphenated = text[at : at + 1] in ("\ufffe", "\x02")
        cleaned = " ".join(piece.replace("\0", "").split())
        if cleaned and not _LEADER.search(cleaned):
            yield Line(cleaned, left, right, bottom, top - bottom, is_hyphenated)


def text_of(pages: list[list[Line]]) -> str:
    """Return the text of pages without what runs along their edges, as paragraphs with blank lines between."""
    running = _running(pages)
    kept = [_without_edges(lines, running) for lines in pages]
    words = words_within(line.text for lines in kept for line in lines)
    paragraphs: list[list[Line]] = []
    for lines in kept:
        found = list(_paragraphs(lines))
        if paragraphs and found and _runs_on(paragraphs[-1][-1], found[0][0]):
            paragraphs[-1] += found.pop(0)
        paragraphs += found
    parts: list[str] = []
    for number, each in enumerate(paragraphs):
        if number:
            parts.append("\n" if _is_listed(paragraphs[number - 1], each) else "\n\n")
        parts.append(join_lines([(line.text, line.is_hyphenated) for line in each], words))
    return "".join(parts)


def _is_listed(above: list[Line], below: list[Line]) -> bool:
    """Return whether two paragraphs are lines of a list or of code: short, and as close as lines are."""
    gap = above[-1].bottom - below[0].bottom
    is_open = len(above) == 1 and above[0].text[-1] not in ".!?"
    return is_open and 0 < gap < 1.3 * max(above[0].height, 1.0) and above[0].height <= 1.1 * below[0].height


def _running(pages: list[list[Line]]) -> set[str]:
    """Return the lines, with their numbers blanked, that stand at an edge of at least three pages in each ten."""
    counts: Counter[str] = Counter()
    for lines in pages:
        counts.update({_blanked(line.text) for line in _edges(lines)})
    # a chapter's title runs along its own pages only
    return {text for text, count in counts.items() if count >= max(_MIN_REPEATS, min(8, len(pages) // 10))}


def _blanked(text: str) -> str:
    return _DIGITS.sub("#", text.lower())


def _edges(lines: list[Line]) -> list[Line]:
    by_height = sorted(lines, key=lambda line: line.bottom)
    return by_height[:_EDGE_LINES] + by_height[-_EDGE_LINES:]


def _without_edges(lines: list[Line], running: set[str]) -> list[Line]:
    edges = {
        id(line)
        for line in _edges(lines)
        if _blanked(line.text) in running or line.text.isdigit() or _ROMAN.fullmatch(line.text)
    }
    return [line for line in lines if id(line) not in edges]


def _paragraphs(lines: list[Line]) -> Iterator[list[Line]]:
    if not lines:
        return
    gaps = [above.bottom - below.bottom for above, below in pairwise(lines)]
    usual = median([gap for gap in gaps if gap > 0] or [0.0])
    margins = _right_margins(lines)
    paragraph = [lines[0]]
    for number, line in enumerate(lines[1:]):
        if _continues(paragraph, line, gaps[number], usual, margins):
            paragraph.append(line)
        else:
            yield paragraph
            paragraph = [line]
    yield paragraph


def _right_margins(lines: list[Line]) -> dict[int, float]:
    """Return how far the widest line of each column reaches, by the tenth of the page where it begins."""
    margins: dict[int, float] = {}
    for line in lines:
        column = int(line.left // 60)
        margins[column] = max(margins.get(column, 0.0), line.right)
    return margins


def _continues(paragraph: list[Line], line: Line, gap: float, usual: float, margins: dict[int, float]) -> bool:
    """Return whether a line belongs to the paragraph above it."""
    above = paragraph[-1]
    if above.is_hyphenated:
        return True
    if abs(gap) < 0.3 * max(above.height, 1.0):
        return True  # on the same line, further on
    if not 0 < gap <= _GAP * max(usual, 0.9 * above.height) or _BULLET.match(line.text):
        return False
    if above.height and not 0.8 < line.height / above.height < 1.25:
        return False
    margin = max(margins.get(int(above.left // 60), 0.0), margins.get(int(paragraph[0].left // 60), 0.0))
    width = margin - above.left
    is_full = above.right - above.left >= _FULL_SHARE * width
    is_indented = line.left > above.left + above.height and len(paragraph) > 1
    return is_full and not is_indented


def _runs_on(above: Line, below: Line) -> bool:
    """Return whether a paragraph continues over the end of a page."""
    return above.is_hyphenated or (above.text[-1] not in '.!?:;"”’)' and below.text[:1].islower())
