"""Lines that stand on many pages of a site and belong to none of them: headers, footers, notices.

What a line is can be said only once all pages are counted. So this module holds what is pure: the keys of a page's
lines, to be counted over all pages (by headwater.corpus.tasks.repeats for a corpus); which keys are boilerplate, from
those counts; and the page without them.

A key's upper bits are of its site alone: sorted, the keys of a site lie together, with that of its pages first. So
whoever counts a range of keys has at hand on how many of how many pages a line stands.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import xxhash

from headwater.corpus.document import Document
from headwater.corpus.settings import BoilerplateSettings

_LINE_BITS = 40  # 24 bits tell 16 million sites apart, 40 the lines of one
_LINE_MASK = (1 << _LINE_BITS) - 1
_OWN_LINES = 3  # in a row, and a page's own text has begun
_MAX_CHARACTERS = 500  # a longer line is a paragraph: what repeats those is the search for repeated paragraphs


def site_of(document: Document, tops: list[str]) -> str:
    """Return the site that a document belongs to.

    The host or name that its metadata give as `site`; else its source and the first folder below the path that it was
    read from, or that path itself for a file that lies right there. `tops` are the source's (`tops_of`).
    """
    if site := document.meta.get("site"):
        return site
    origin = document.origin
    top = max((top for top in tops if origin.startswith(top)), key=len, default="")
    folder, slash, _ = origin[len(top) :].partition("/")
    return f"{document.source}\0{top}{folder if slash else ''}"


def tops_of(paths: list[str]) -> list[str]:
    """Return the folders, each with a slash at its end, below which a source's paths find files."""
    tops = set()
    for given in paths:
        path = Path(given).expanduser()
        if glob.has_magic(given) and not path.exists():
            at = next(number for number, part in enumerate(path.parts) if glob.has_magic(part))
            path = Path(*path.parts[:at]) if at else Path()
        tops.add("" if path == Path() else path.as_posix().rstrip("/") + "/")
    return sorted(tops)


def page_key(site: str) -> int:
    """Return the key that every page of a site has: counted, it is the number of pages."""
    return xxhash.xxh3_64_intdigest(site.encode("utf-8", "backslashreplace")) >> _LINE_BITS << _LINE_BITS


def line_key(line: str, site: str) -> int:
    """Return the key of a line, without the space around it, on a site; never that of the site's pages."""
    value = xxhash.xxh3_64_intdigest(line.strip().encode("utf-8", "backslashreplace")) & _LINE_MASK
    return page_key(site) | max(value, 1)


def line_units(text: str, site: str) -> Iterator[tuple[int, int, int]]:
    """Yield the key, the start and the end of every line that may be boilerplate, and first the key of the page."""
    yield page_key(site), 0, 0
    start = 0
    for line in text.split("\n"):
        if 0 < len(line) <= _MAX_CHARACTERS and any(map(str.isalpha, line)):
            yield line_key(line, site), start, start + len(line)
        start += len(line) + 1


def boilerplate_keys(keys: np.ndarray, pages: np.ndarray, settings: BoilerplateSettings) -> np.ndarray:
    """Return those of `keys` that stand on enough pages of their site.

    `keys` are sorted, each once, and with those of a site comes that of its pages; `pages` is on how many each stands.
    """
    sites = keys >> np.uint64(_LINE_BITS) << np.uint64(_LINE_BITS)
    of_site = pages[np.searchsorted(keys, sites)]
    least = np.maximum(settings.min_pages, np.ceil(settings.min_share * of_site - 1e-9))
    return keys[(pages >= least) & (keys != sites)]


def boilerplate_spans(
    text: str, site: str, common: Collection[int], settings: BoilerplateSettings
) -> list[tuple[int, int]]:
    """Return where, in a page, the lines lie that are cut, of those whose key is in `common`.

    At the page's edges, its first and last `edge_lines` lines but no more than a quarter of them each, any such line
    is cut, until three lines in a row are the page's own: there its text begins. Between the edges only long ones
    are: a word or two on a line of its own, on every page of a manual, is a heading ("Parameters"), and a page
    without its headings is a worse text.
    """
    spans = {start: end for key, start, end in line_units(text, site) if end and key in common}
    if not spans:
        return []
    starts = [start for start, line in _filled_lines(text)]
    edge = min(settings.edge_lines, len(starts) // 4)
    gone = {start for start, end in spans.items() if end - start >= settings.min_inside_characters}
    gone |= _from_the_edge(starts[:edge], spans) | _from_the_edge(starts[len(starts) - edge :][::-1], spans)
    return [(start, spans[start]) for start in sorted(gone)]


def _filled_lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.split("\n"):
        if line.strip():
            yield start, line
        start += len(line) + 1


def _from_the_edge(starts: list[int], common: Collection[int]) -> set[int]:
    found: set[int] = set()
    num_own = 0
    for start in starts:
        num_own = 0 if start in common else num_own + 1
        if num_own == _OWN_LINES:
            break
        found |= {start} if start in common else set()
    return found


class SiteCounts:
    """Counts of the lines of pages held in memory: for a small collection, and as what larger ways are held against."""

    def __init__(self, settings: BoilerplateSettings) -> None:
        self._settings = settings
        self._pages: Counter[int] = Counter()

    def add(self, text: str, site: str) -> None:
        """Count a page. One that is added twice is two pages: add them after duplicates are gone."""
        self._pages.update({key for key, _, _ in line_units(text, site)})

    def common(self) -> set[int]:
        """Return the keys of all boilerplate."""
        keys = np.array(sorted(self._pages), dtype=np.uint64)
        pages = np.array([self._pages[key] for key in keys.tolist()], dtype=np.int64)
        return set(boilerplate_keys(keys, pages, self._settings).tolist())
