"""Lines that stand on many pages of a site and belong to none of them: headers, footers, notices.

What a line is can be said only once all pages are counted. So this module holds what is pure: the keys of a page's
lines, to be counted over all pages (headwater.corpus.repeats); and, from those counts, the page without its
boilerplate.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

import numpy as np
import xxhash

from headwater.corpus.document import Document
from headwater.corpus.source_paths import SourcePaths
from headwater.sources.rules import BoilerplateSettings

_OWN_LINES = 3  # in a row, and a page's own text has begun
# indented, but no item of a list; ends a statement; begins one; calls a function; a prompt
_CODE = re.compile(
    r"(?:\t| {2,})(?![-*•]|\d+\.)\S|.*[;{}]\s*$|.*\):\s*$|\S+ = |[\w.:]+\([^)]*\)$|(?:\$|>>>|#) |"
    r"(?:import|from|def|class|return|use|fn|let|const|var|#include|package|public|private|func)\b(?! *$)"
)


def site_of(document: Document, paths: SourcePaths) -> str:
    """Return the host or name that a document's metadata give as `site`; else its source and the first folder below."""
    return document.meta.get("site") or f"{document.source}\0{paths.first_folder(document.origin)}"


def line_keys(text: str, site: str) -> np.ndarray:
    """Return the keys of a page's lines, each key once: uint64, of the line without space around it and of the site."""
    lines = {line.strip() for line in text.split("\n")}
    keys = [line_key(line, site) for line in lines if line]
    return np.unique(np.array(keys, dtype=np.uint64))


def line_key(line: str, site: str) -> int:
    """Return the key of a line of a site; that of the empty line is the site's."""
    return xxhash.xxh3_64_intdigest(f"{site}\n{line}".encode("utf-8", "backslashreplace"))


def common_share(text: str, site: str, is_common: Callable[[int], bool]) -> float:
    """Return the share of a page's characters that is in lines whose key `is_common`."""
    lines = ((len(line), line.strip()) for line in text.split("\n"))
    return sum(length for length, line in lines if line and is_common(line_key(line, site))) / max(len(text), 1)


def without_boilerplate(
    text: str, site: str, is_common: Callable[[int], bool], settings: BoilerplateSettings
) -> tuple[str, str]:
    """Return a page without the lines whose key `is_common`, and those lines.

    At the page's edges, its first and last `edge_lines` lines but no more than a quarter of them each, any such line
    with a letter is cut, until three lines in a row are the page's own: there its text begins. Between the edges only
    long ones are: a word or two on a line of its own, on every page of a manual, is a heading ("Parameters"), and a
    page without its headings is a worse text. Code is as it is: `import os` stands on many pages of a manual.
    """
    lines = text.split("\n")
    code = _code_lines(lines)
    filled = [number for number, line in enumerate(lines) if line.strip() and number not in code]
    common = {
        number: any(map(str.isalpha, line := lines[number])) and is_common(line_key(line.strip(), site))
        for number in filled
    }
    edge = min(settings.edge_lines, len(filled) // 4)
    gone = {
        number for number in filled if common[number] and len(lines[number].strip()) >= settings.min_inside_characters
    }
    gone |= _from_the_edge(filled[:edge], common) | _from_the_edge(filled[len(filled) - edge :][::-1], common)
    if not gone:
        return text, ""
    kept = "\n".join(line for number, line in enumerate(lines) if number not in gone)
    return kept, "\n".join(lines[number].strip() for number in sorted(gone))


def _code_lines(lines: list[str]) -> set[int]:
    """Return the numbers of the lines in blocks of which at least half look like code; empty lines end a block."""
    found: set[int] = set()
    for is_filled, block in groupby(range(len(lines)), key=lambda number: bool(lines[number].strip())):
        numbers = list(block)
        if is_filled and 2 * sum(_CODE.match(lines[number]) is not None for number in numbers) >= len(numbers):
            found.update(numbers)
    return found


def _from_the_edge(numbers: list[int], common: dict[int, bool]) -> set[int]:
    found: set[int] = set()
    num_own = 0
    for number in numbers:
        num_own = 0 if common[number] else num_own + 1
        if num_own == _OWN_LINES:
            break
        found |= {number} if common[number] else set()
    return found
