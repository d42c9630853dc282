"""Lines that stand on many pages of a site and belong to none of them: headers, footers, notices.

Which they are can be said only once all pages are counted (headwater.corpus.decide.duplicates), with no text at
hand: by keys that are noted with the measures of a page. They are cut before it is written (tasks.pages).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

import xxhash

from headwater.corpus.document import Document
from headwater.corpus.source_paths import SourcePaths
from headwater.corpus.sources.rules import BoilerplateSettings
from headwater.corpus.sources.settings import CorpusSettings

REASON = "boilerplate_lines"

_OWN_LINES = 3  # in a row, and a page's own text has begun
# indented, but no item of a list; ends a statement; begins one; calls a function; a prompt
_CODE = re.compile(
    r"(?:\t| {2,})(?![-*•]|\d+\.)\S|.*[;{}]\s*$|.*\):\s*$|\S+ = |[\w.:]+\([^)]*\)$|(?:\$|>>>|#) |"
    r"(?:import|from|def|class|return|use|fn|let|const|var|#include|package|public|private|func)\b(?! *$)"
)


@dataclass(frozen=True, slots=True)
class BoilerplateRule:
    """Says which lines of a page count, and cuts those that too many pages have; `paths` are each source's."""

    settings: BoilerplateSettings
    paths: dict[str, SourcePaths]

    def site_of(self, document: Document) -> str:
        """Return the host or name that metadata give as `site`; else the source and the first folder below its path."""
        source = document.source
        return document.meta.get("site") or f"{source}\0{self.paths[source].first_folder(document.origin)}"

    def keys(self, document: Document) -> list[int]:
        """Return the keys of a page's lines, without the space around them; each key once."""
        if document.kind != "web":
            return []
        site = self.site_of(document)
        return sorted(line_key(line, site) for line in {line.strip() for line in document.text.split("\n")} if line)

    def site_key(self, document: Document) -> int:
        """Return the key of a page's site, among whose pages its lines are counted."""
        return line_key("", self.site_of(document))

    def share(self, document: Document, keys: set[int]) -> float:
        """Return the share of a page's characters that is in lines with these keys."""
        site = self.site_of(document)
        lines = ((len(line), line.strip()) for line in document.text.split("\n"))
        common = sum(length for length, line in lines if line and line_key(line, site) in keys)
        return common / max(len(document.text), 1)

    def without(self, document: Document, keys: set[int]) -> tuple[str, str]:
        """Return a page without the lines that have these keys, and those lines.

        At the page's edges, its first and last `edge_lines` lines but no more than a quarter of them each, any such
        line with a letter is cut, until three lines in a row are the page's own: there its text begins. Between the
        edges only long ones are: a word or two on a line of its own, on every page of a manual, is a heading
        ("Parameters"), and a page without its headings is a worse text. Code is as it is: `import os` stands on many
        pages of a manual.
        """
        lines, site = document.text.split("\n"), self.site_of(document)
        code = _code_lines(lines)
        filled = [number for number, line in enumerate(lines) if line.strip() and number not in code]
        common = {
            number: any(map(str.isalpha, line := lines[number])) and line_key(line.strip(), site) in keys
            for number in filled
        }
        edge, least = min(self.settings.edge_lines, len(filled) // 4), self.settings.min_inside_characters
        gone = {number for number in filled if common[number] and len(lines[number].strip()) >= least}
        gone |= _from_the_edge(filled[:edge], common) | _from_the_edge(filled[len(filled) - edge :][::-1], common)
        if not gone:
            return document.text, ""
        kept = "\n".join(line for number, line in enumerate(lines) if number not in gone)
        return kept, "\n".join(lines[number].strip() for number in sorted(gone))


def boilerplate_rule(settings: CorpusSettings) -> BoilerplateRule | None:
    """Return the rule of a corpus with pages; None where it has none, or cuts no lines."""
    if settings.boilerplate is None or all(source.kind != "web" for source in settings.sources.values()):
        return None
    paths = {name: SourcePaths(source.paths or []) for name, source in settings.sources.items()}
    return BoilerplateRule(settings.boilerplate, paths)


def line_key(line: str, site: str) -> int:
    """Return the key of a line of a site; that of the empty line is the site's."""
    return xxhash.xxh3_64_intdigest(f"{site}\n{line}".encode("utf-8", "backslashreplace"))


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
