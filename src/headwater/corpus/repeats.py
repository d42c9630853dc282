"""Paragraphs and lines that many documents have: what is counted over the whole corpus and cut out.

A rule says what its units are and how often one may occur. The units of a document are hashed while it is sifted;
which occurrences go is found out with no text at hand (headwater.corpus.tasks.repeats); they are cut as a document is
written. What repeats within one document is for the rules of filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from headwater.corpus.document import Document
from headwater.corpus.settings import CorpusSettings, RepeatSettings

_PARAGRAPH = re.compile(r"[^\n](?:[^\n]|\n(?!\n))*\n*")
_LINE = re.compile(r"[^\n]+\n?")
_RUN = re.compile(rb"(.)\1*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RepeatRule:
    """`reason` is that under which cut bytes are counted; a unit is what `pattern` matches, its white space included.

    With `is_by_site` a unit is counted for each site by itself (metadata "site"), and documents of none have no units.
    """

    reason: str
    pattern: re.Pattern[str]
    settings: RepeatSettings
    is_by_site: bool = False

    def units(self, document: Document) -> Iterator[tuple[int, int, int]]:
        """Yield the hash, start and end of every unit that is long enough to count.

        Case and white space make no difference.
        """
        site = document.meta.get("site", "") if self.is_by_site else ""
        if document.kind not in self.settings.kinds or (self.is_by_site and not site):
            return
        for match in self.pattern.finditer(document.text):
            words = match.group().lower().split()
            if len(words) < self.settings.min_words:
                continue
            unit = " ".join(words)
            if len(unit) >= self.settings.min_characters:
                yield xxhash.xxh3_64_intdigest(f"{site}\n{unit}".encode()), match.start(), match.end()


def repeat_rules(settings: CorpusSettings) -> list[RepeatRule]:
    """Return the rules of a corpus; of a passage that two of them cut, the first counts the bytes."""
    dedup = settings.dedup
    rules = []
    if dedup.paragraphs is not None:
        rules.append(RepeatRule("repeated_paragraph", _PARAGRAPH, dedup.paragraphs))
    if dedup.lines is not None:
        rules.append(RepeatRule("repeated_line", _LINE, dedup.lines))
    # lines on most pages of a site: RepeatRule("boilerplate", _LINE, …, is_by_site=True)
    return rules


@dataclass(frozen=True, slots=True)
class Remainder:
    """A text without the units that were cut, and what was: its parts by reason."""

    text: str
    cut: dict[str, list[str]]


def without_units(document: Document, cuts: Sequence[tuple[RepeatRule, set[int]]]) -> Remainder:
    """Return a document's text without the units whose hashes are given for each rule."""
    marks = bytearray(len(document.text))  # 0 for what stays, else the rule's place, from 1
    for place, (rule, hashes) in reversed(list(enumerate(cuts, start=1))):  # the first rule has the last word
        for value, start, end in rule.units(document):
            if value in hashes:
                marks[start:end] = bytes([place]) * (end - start)
    reasons = ["", *(rule.reason for rule, _ in cuts)]
    kept, cut = list[str](), dict[str, list[str]]()
    for run in _RUN.finditer(marks):
        reason = reasons[run.group()[0]]
        (cut.setdefault(reason, []) if reason else kept).append(document.text[run.start() : run.end()])
    return Remainder("".join(kept), cut)
