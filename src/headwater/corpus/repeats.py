"""Paragraphs and lines that many documents have: what is counted over the whole corpus and cut out.

A rule says what its units are and how often one may occur. The units of a document are hashed while it is filtered;
which occurrences go is found out with no text at hand (headwater.corpus.tasks.repeats); they are cut as a document is
written. What repeats within one document is for the rules of filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xxhash

from headwater.corpus.document import Document
from headwater.corpus.quality.boilerplate import BoilerplateRule
from headwater.corpus.source_paths import SourcePaths
from headwater.sources.settings import CorpusSettings, RepeatSettings

_PARAGRAPH = re.compile(r"[^\n](?:[^\n]|\n(?!\n))*\n*")
_LINE = re.compile(r"[^\n]+\n?")


@dataclass(frozen=True, slots=True)
class PassageRule:
    """Passages that stand in documents before: what `pattern` matches, its white space included.

    Case and white space make no difference. Cut bytes are counted under `reason`.
    """

    reason: str
    pattern: re.Pattern[str]
    settings: RepeatSettings

    is_by_group = False  # units are counted among all documents

    @property
    def keep(self) -> int:
        """In how many documents, the first of those that have it, a unit stays."""
        return self.settings.keep

    def keys(self, document: Document) -> list[int]:
        """Return the 64-bit keys of a document's units, each once; of none where the rule doesn't concern it."""
        is_concerned = document.kind in self.settings.kinds
        return list({key for key, _ in self._units(document.text)}) if is_concerned else []

    def group_of(self, document: Document) -> int:
        """Return the key of the documents among which this one's units are counted; 0 where that is all of them."""
        return 0

    def least(self, group_sizes: np.ndarray) -> np.ndarray:
        """Return in how many documents, of a group of such sizes, a unit must be to be cut; sizes of group 0 are 0."""
        return np.full(len(group_sizes), self.settings.min_documents)

    def without(self, document: Document, keys: set[int]) -> tuple[str, str]:
        """Return a document's text without the units that have these keys, and those."""
        kept, cut = list[str](), list[str]()
        start = 0
        for key, match in self._units(document.text):
            if key in keys:
                kept.append(document.text[start : match.start()])
                cut.append(match.group())
                start = match.end()
        return "".join(kept) + document.text[start:], "".join(cut)

    def _units(self, text: str) -> Iterator[tuple[int, re.Match[str]]]:
        """Yield the key of every passage that is long enough to count, and where it is."""
        for match in self.pattern.finditer(text):
            words = match.group().lower().split()
            if len(words) >= self.settings.min_words:
                unit = " ".join(words)
                if len(unit) >= self.settings.min_characters:
                    yield xxhash.xxh3_64_intdigest(unit.encode()), match


RepeatRule = PassageRule | BoilerplateRule


def repeat_rules(settings: CorpusSettings) -> list[RepeatRule]:
    """Return the rules of a corpus, in the order in which they cut."""
    dedup, rules = settings.dedup, list[RepeatRule]()
    if settings.boilerplate is not None and any(source.kind == "web" for source in settings.sources.values()):
        paths = {name: SourcePaths(source.paths or []) for name, source in settings.sources.items()}
        rules.append(BoilerplateRule(settings.boilerplate, paths))
    if dedup.paragraphs is not None:
        rules.append(PassageRule("repeated_paragraph", _PARAGRAPH, dedup.paragraphs))
    if dedup.lines is not None:
        rules.append(PassageRule("repeated_line", _LINE, dedup.lines))
    return rules
