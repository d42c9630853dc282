"""Decontamination: what a document shares with an evaluation set is cut out of it, or takes the document along.

Runs of 13 words without case and punctuation, as GPT-3's authors compared them (Brown et al. 2020, arXiv 2005.14165,
appendix C, where the run is the 5th percentile of an item's length, 8 to 13 words). They cut 200 characters on either
side and dropped what fell into more than ten pieces; here whole sentences go, as in `withhold`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from headwater.corpus.bare_words import BareWordHasher, word_spans
from headwater.corpus.clean import clean
from headwater.corpus.document import EXCERPT_CHARACTERS, num_bytes
from headwater.corpus.evaluation_sets import Item, read_set
from headwater.corpus.overlap import OverlapIndex, Shared
from headwater.corpus.protection import DecontaminateSettings
from headwater.corpus.step import Candidate, Cut, Verdict
from headwater.corpus.withhold import SHORT_CHARACTERS, passage

REASON = "contaminated_"


@dataclass(frozen=True, slots=True)
class _Passage:
    """Characters [start, end) of a text, to be cut for the items (by number) that a hit in it belongs to."""

    start: int
    end: int
    items: frozenset[int]


class Decontaminator:
    """The step. Its sets are read once; items of all sets are numbered in one row, in the order of the settings."""

    def __init__(self, settings: DecontaminateSettings) -> None:
        """Read the sets. Raises DataError when one can't be read, or holds nothing that can be looked for."""
        self._settings = settings
        self._hasher = BareWordHasher()
        self._sets = {name: read_set(name, settings) for name in settings.sets}
        self._names = list(self._sets)
        self._starts = np.cumsum([0, *(len(items) for items in self._sets.values())])
        self._too_short: Counter[str] = Counter()
        self._index = OverlapIndex(self._texts(), settings.ngram_words)

    def _texts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (item, word hashes) of every text that is looked for; of an item of short texts, of all as one."""
        number = 0
        for name, items in self._sets.items():
            for item in items:
                hashes = [self._hasher.hash(text) for text in item.texts]
                long = [each for each in hashes if len(each) >= self._settings.min_words]
                together = np.concatenate(hashes)
                if not long and len(together) >= self._settings.min_words:
                    long = [together]
                self._too_short[name] += not long
                yield from ((number, each) for each in long)
                number += 1

    def __call__(self, candidate: Candidate) -> Verdict:
        document, text = candidate.document, candidate.document.text
        cut: list[tuple[_Passage, str]] = []
        while found := self._index.find(self._hasher.hash(text)):
            passages = _passages(text, found, self._settings.max_passages)
            if self._goes_whole(document.text, text, passages, cut):
                items = {shared.item for shared in found}.union(*(each.items for each, _ in cut))
                return Verdict(candidate, REASON + self._set_of(min(items)), note=self._note(items))
            cut += [(each, text[each.start : each.end]) for each in passages]
            text = _without(text, passages)
        if not cut:
            return Verdict(candidate)
        return Verdict(candidate.with_text(clean(text, document.kind)), cuts=tuple(map(self._as_cut, cut)))

    def _goes_whole(self, original: str, text: str, passages: list[_Passage], cut: list[tuple[_Passage, str]]) -> bool:
        if self._settings.action == "drop" or len(original) < SHORT_CHARACTERS:
            return True
        left = len(text) - sum(each.end - each.start for each in passages)
        too_much = len(original) - left > self._settings.max_cut_fraction * len(original)
        return too_much or len(passages) + len(cut) > self._settings.max_passages

    def _as_cut(self, found: tuple[_Passage, str]) -> Cut:
        at, text = found
        reason = REASON + self._set_of(min(at.items))
        return Cut(reason, num_bytes(text), text[:EXCERPT_CHARACTERS], self._note(at.items))

    def _set_of(self, item: int) -> str:
        return self._names[int(np.searchsorted(self._starts, item, side="right")) - 1]

    def _note(self, items: Iterable[int]) -> str:
        """Return the items as NAME:NUMBER, the numbers from 0 in their set."""
        return " ".join(f"{self._set_of(item)}:{item - self._start_of(item)}" for item in sorted(items))

    def _start_of(self, item: int) -> int:
        return int(self._starts[self._names.index(self._set_of(item))])

    def report(self, told: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
        """Return what was found of each set, from (document id, note, bytes) of all that this step cut or dropped.

        {set: {items, too_short, found, documents, bytes, found_items}}: `found` items were in the corpus, in so many
        documents; `found_items` says which.
        """
        tallies = {name: _Tally() for name in self._sets}
        for document, note, size in told:
            numbers = [_parse_note(part) for part in note.split()]
            for place, (name, number) in enumerate(numbers):
                tallies[name].add_(document, number, 0 if place else size)
        return {name: self._facts(name, tally) for name, tally in tallies.items()}

    def _facts(self, name: str, tally: _Tally) -> dict[str, Any]:
        items: list[Item] = self._sets[name]
        return {
            "items": len(items),
            "too_short": self._too_short[name],
            "found": len(tally.items),
            "documents": len(tally.documents),
            "bytes": tally.num_bytes,
            "found_items": [items[number].label for number in sorted(tally.items)],
        }


@dataclass(slots=True)
class _Tally:
    items: set[int] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    num_bytes: int = 0

    def add_(self, document: str, item: int, size: int) -> None:
        self.items.add(item)
        self.documents.add(document)
        self.num_bytes += size


def _parse_note(part: str) -> tuple[str, int]:
    name, _, number = part.rpartition(":")
    return name, int(number)


def _passages(text: str, found: list[Shared], limit: int) -> list[_Passage]:
    """Return the sentences to be cut out of a text, in order, none touching another; of too many only `limit` + 1."""
    spans = word_spans(text)
    passages: list[_Passage] = []
    for first, last, items in _joined(found):
        start, end = spans[first][0], spans[last - 1][1]
        if passages and end <= passages[-1].end:
            passages[-1] = replace(passages[-1], items=passages[-1].items | items)
            continue
        start, end = passage(text, start, end)
        if passages and start < passages[-1].end:
            before = passages.pop()
            start, items = min(start, before.start), before.items | items
        elif len(passages) > limit:
            break
        passages.append(_Passage(start, end, items))
    return passages


def _joined(found: list[Shared]) -> list[tuple[int, int, frozenset[int]]]:
    """Return (first word, last word, items) of what is found, with what overlaps made one."""
    joined: list[tuple[int, int, set[int]]] = []
    for shared in sorted(found, key=lambda each: each.first):
        if joined and shared.first < joined[-1][1]:
            first, last, items = joined.pop()
            joined.append((first, max(last, shared.last), items | {shared.item}))
        else:
            joined.append((shared.first, shared.last, {shared.item}))
    return [(first, last, frozenset(items)) for first, last, items in joined]


def _without(text: str, passages: list[_Passage]) -> str:
    ends = [0, *(each.end for each in passages)]
    starts = [*(each.start for each in passages), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
