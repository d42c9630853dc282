"""Decontamination: what a document shares with an evaluation set is cut out of it, or takes the document along.

Runs of 13 words without case and punctuation, as GPT-3's authors compared them (Brown et al. 2020, arXiv 2005.14165,
appendix C, where the run is the 5th percentile of an item's length, 8 to 13 words). They cut 200 characters on either
side and dropped what fell into more than ten pieces; here whole sentences go, as in `withhold`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from headwater.core.errors import DataError
from headwater.corpus.clean import clean
from headwater.corpus.document import EXCERPT_CHARACTERS, num_bytes
from headwater.corpus.protect.evaluation_sets import read_set
from headwater.corpus.protect.overlap import Shared, has_unspaced, hashes_of, unescaped, unspaced_fraction, word_spans
from headwater.corpus.protect.questions import Questions
from headwater.corpus.sources.settings import DecontaminateSettings
from headwater.corpus.step import Candidate, Cut, Verdict
from headwater.corpus.words import WordHasher

SHORT_CHARACTERS = 2000
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|[。！？][」』”’）]*|\n")


def withhold(text: str, patterns: Sequence[re.Pattern[str]]) -> tuple[str | None, str]:
    """Return a text in which no pattern matches, and what was cut out of it; None for a text to be dropped whole.

    A text shorter than 2000 characters is dropped whole. Of a longer one the sentences (or lines) that the match
    touches are cut, and the search starts again, since what now stands side by side may match too.
    """
    cut = []
    while match := next((found for pattern in patterns if (found := pattern.search(text))), None):
        if len(text) < SHORT_CHARACTERS:
            return None, ""
        start, end = passage(text, match.start(), match.end())
        cut.append(text[start:end])
        text = text[:start] + text[end:]
    return text, "".join(cut)


def passage(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the bounds of the sentences or lines that text[start:end] lies in."""
    line_start = text.rfind("\n", 0, start) + 1
    begin = max((m.end() for m in _SENTENCE_END.finditer(text, line_start, start)), default=line_start)
    after = _SENTENCE_END.search(text, max(end - 1, start))
    return begin, (after.end() if after else len(text))


REASON = "contaminated_"
_MAX_REPORTED = 3


class _Passage(NamedTuple):
    """Characters [start, end) of a text, to be cut for the items (by number) that a hit in it belongs to."""

    start: int
    end: int
    items: frozenset[int]


_Cut = tuple[str, frozenset[int]]  # the text of a passage, and its items


class Decontaminator:
    """The step. Its sets are read once; items of all sets are numbered in one row, in the order of the settings."""

    def __init__(self, settings: DecontaminateSettings) -> None:
        """Read the sets. Raises DataError when one can't be read, or holds nothing that can be looked for."""
        self._settings = settings
        self._hasher = WordHasher()
        self._sets = {name: read_set(name, settings) for name in settings.sets}
        # in one row, each with its set and its number there
        self._items = [(name, number, item) for name in self._sets for number, item in enumerate(self._sets[name])]
        self._too_short: Counter[str] = Counter()
        self._spaced = Questions(self._hasher, settings.ngram_words, settings.min_words, False)
        self._unspaced = Questions(self._hasher, settings.ngram_characters, settings.min_characters, True)
        for place, (name, _, item) in enumerate(self._items):
            is_long = False
            for text in item.texts:
                questions = self._unspaced if unspaced_fraction(text.question) > 0.5 else self._spaced
                is_long |= questions.add_(place, text)
            self._too_short[name] += not is_long
        for questions in (self._spaced, self._unspaced):
            questions.end_()
        for name, items in self._sets.items():
            if self._too_short[name] == len(items):  # nothing would be kept out in its name
                raise DataError(
                    f"corpus.decontaminate.sets.{name}: none of its {len(items):,} items is as long as "
                    f"corpus.decontaminate.min_words={settings.min_words}, or in scripts without spaces "
                    f"min_characters={settings.min_characters}; lower these or take the set out"
                )

    def _find(self, text: str) -> list[Shared]:
        text, _ = unescaped(text)
        hashes = hashes_of(text, self._hasher)
        return self._spaced.find(hashes) + (self._unspaced.find(hashes) if has_unspaced(text) else [])

    def __call__(self, candidate: Candidate) -> Verdict:
        document, text = candidate.document, candidate.document.text
        cut: list[_Cut] = []
        while found := self._find(text):
            passages = _passages(text, found, self._settings.max_passages)
            if self._goes_whole(document.text, text, passages, cut):
                return self._whole(candidate, {shared.item for shared in found}, [*cut, *_texts_of(passages, text)])
            cut += _texts_of(passages, text)
            text = _without(text, passages)
        if not cut:
            return Verdict(candidate)
        return Verdict(candidate.with_text(clean(text, document.kind)), cuts=self._cuts(cut))

    def _goes_whole(self, original: str, text: str, passages: list[_Passage], cut: list[_Cut]) -> bool:
        if len(original) < SHORT_CHARACTERS:
            return True
        left = len(text) - sum(each.end - each.start for each in passages)
        too_much = len(original) - left > self._settings.max_cut_fraction * len(original)
        return too_much or len(passages) + len(cut) > self._settings.max_passages

    def _whole(self, candidate: Candidate, items: set[int], cut: list[_Cut]) -> Verdict:
        """Return that a document goes, with the sentences that the items stand in: its beginning may be another's."""
        items = items.union(*(each for _, each in cut))
        excerpt = "\n".join(text.strip() for text, _ in cut)[:EXCERPT_CHARACTERS]
        reason = REASON + self._items[min(items)][0]
        return Verdict(candidate, reason, note=self._note(items), because=self._items_found(items), excerpt=excerpt)

    def _cuts(self, cut: list[_Cut]) -> tuple[Cut, ...]:
        """Return a cut for every set that gives a reason; all that was found is noted with the first."""
        by_set: dict[str, list[_Cut]] = {}
        for each in cut:
            by_set.setdefault(self._items[min(each[1])][0], []).append(each)
        cuts, note = list[Cut](), self._note(frozenset().union(*(items for _, items in cut)))
        for name, own in by_set.items():
            found = self._items_found(frozenset().union(*(items for _, items in own)))
            size = sum(num_bytes(text) for text, _ in own)
            cuts.append(Cut(REASON + name, size, own[0][0][:EXCERPT_CHARACTERS], "" if cuts else note, found))
        return tuple(cuts)

    def _note(self, items: Iterable[int]) -> str:
        """Return the sets, then the items as NAME:NUMBER, the numbers from 0 in their set."""
        found = [self._items[item] for item in sorted(items)]
        return " ".join([*dict.fromkeys(name for name, *_ in found), *(f"{name}:{at}" for name, at, _ in found)])

    def _items_found(self, items: Iterable[int]) -> str:
        """Return the first items as a person finds them: by file and number, or by their question."""
        names = [self._items[item][2].name for item in sorted(items)]
        more = f" and {len(names) - _MAX_REPORTED} others" if len(names) > _MAX_REPORTED else ""
        return f"{'item' if len(names) == 1 else 'items'} {', '.join(names[:_MAX_REPORTED])}{more}"

    @property
    def searched(self) -> list[SearchedSet]:
        """The sets, as they are reported: without what they are searched by, which takes memory."""
        labels = {name: [item.label for item in items] for name, items in self._sets.items()}
        return [SearchedSet(name, labels[name], self._too_short[name]) for name in labels]


class SearchedSet(NamedTuple):
    """The labels of a set's items, of which `too_short` can't be looked for."""

    name: str
    labels: list[str]
    too_short: int

    def report(self, noted: Mapping[str, int]) -> dict[str, Any]:
        """Return what was found of the set, from how many documents each word was noted for (Cut.note).

        `found` items were in the corpus, in that many `documents`; `found_items` says which. Of a run of words that
        more items than 64 share the first 64 are named.
        """
        found = sorted(int(word.partition(":")[2]) for word in noted if word.startswith(f"{self.name}:"))
        return {
            "items": len(self.labels),
            "too_short": self.too_short,
            "found": len(found),
            "documents": noted.get(self.name, 0),
            "found_items": [self.labels[number] for number in found],
        }


def _texts_of(passages: list[_Passage], text: str) -> list[_Cut]:
    return [(text[each.start : each.end], each.items) for each in passages]


def _passages(text: str, found: list[Shared], limit: int) -> list[_Passage]:
    """Return the sentences to be cut out of a text, in order, none touching another; of too many only `limit` + 1."""
    plain, places = unescaped(text)
    spans = [(places[start], places[end]) for start, end in word_spans(plain)]
    passages: list[_Passage] = []
    for shared in sorted(found, key=lambda each: each.first):
        start, end, items = spans[shared.first][0], spans[shared.last - 1][1], frozenset([shared.item])
        if passages and end <= passages[-1].end:
            passages[-1] = passages[-1]._replace(items=passages[-1].items | items)
            continue
        start, end = passage(text, start, end)
        if passages and start < passages[-1].end:
            before = passages.pop()
            start, items = min(start, before.start), before.items | items
        elif len(passages) > limit:
            break
        passages.append(_Passage(start, end, items))
    return passages


def _without(text: str, passages: list[_Passage]) -> str:
    ends = [0, *(each.end for each in passages)]
    starts = [*(each.start for each in passages), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
