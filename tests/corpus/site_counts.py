"""Lines and pages of sites counted in memory: the answer that a corpus must give."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

from headwater.corpus.document import Document
from headwater.corpus.measures.boilerplate import BoilerplateRule
from headwater.corpus.sources.rules import BoilerplateSettings


def page_of(text: str, site: str) -> Document:
    return Document(text, "pages", text[:20], "page.html", "web", {"site": site})


class SiteCounts:
    def __init__(self, settings: BoilerplateSettings) -> None:
        self._settings, self._rule = settings, BoilerplateRule(settings, {})
        self._pages: Counter[str] = Counter()
        self._lines: Counter[int] = Counter()

    def add(self, text: str, site: str) -> None:
        self._pages[site] += 1
        self._lines.update(self._rule.keys(page_of(text, site)))

    def cut(self, text: str, site: str) -> tuple[str, str]:
        """Return a page without its site's boilerplate, and what was cut."""
        share = math.ceil(Fraction(repr(self._settings.min_share)) * self._pages[site])
        page, least = page_of(text, site), max(self._settings.min_pages, share)
        return self._rule.without(page, {key for key in self._rule.keys(page) if self._lines[key] >= least})
