"""Lines and pages of sites counted in memory: the answer that the tasks must give."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headwater.corpus.quality.boilerplate import line_keys, without_boilerplate
from headwater.corpus.repeats import BoilerplateRule
from headwater.sources.rules import BoilerplateSettings


class SiteCounts:
    def __init__(self, settings: BoilerplateSettings) -> None:
        self._settings = settings
        self._pages: Counter[str] = Counter()
        self._lines: Counter[int] = Counter()

    def add(self, text: str, site: str) -> None:
        self._pages[site] += 1
        self._lines.update(line_keys(text, site).tolist())

    def cut(self, text: str, site: str) -> tuple[str, str]:
        """Return a page without its site's boilerplate, and what was cut."""
        (least,) = BoilerplateRule(self._settings, {}).least(np.array([self._pages[site]]))
        return without_boilerplate(text, site, lambda key: self._lines[key] >= least, self._settings)
