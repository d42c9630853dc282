"""What the steps found that bytes don't tell: items of evaluation sets, personal data by kind. For the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.corpus.balance import Balance
from headwater.corpus.licences.step import REASON as NOT_ALLOWED
from headwater.corpus.personal.replace import REASON as REDACTED
from headwater.corpus.protect.decontaminate import REASON as CONTAMINATED
from headwater.corpus.protect.decontaminate import Decontaminator, SearchedSet
from headwater.corpus.sources.settings import CorpusSettings

OTHER = "other"
_MAX_WORDS = 500


class Notes:
    """How often each word was noted for each reason: once a document and word."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add_(self, reason: str, note: str) -> None:
        if note:
            for word in note.split():
                self._count_(reason, word, 1)

    def merge_(self, table: Mapping[str, Mapping[str, int]]) -> None:
        """Add notes as `as_dict` wrote them."""
        for reason, counts in table.items():
            for word, times in counts.items():
                self._count_(reason, word, times)

    def _count_(self, reason: str, word: str, times: int) -> None:
        counts = self._counts.setdefault(reason, Counter())
        # words about licences are what documents say, which may be anything
        is_counted = reason != NOT_ALLOWED or word in counts or len(counts) < _MAX_WORDS
        counts[word if is_counted else OTHER] += times

    def of(self, prefix: str) -> Counter[str]:
        """Return the words noted for reasons that begin with `prefix`, together."""
        return sum((counts for reason, counts in self._counts.items() if reason.startswith(prefix)), Counter[str]())

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {reason: dict(sorted(counts.items())) for reason, counts in sorted(self._counts.items())}


def findings(
    settings: CorpusSettings, notes: Notes, balance: Balance, searched: Sequence[SearchedSet]
) -> dict[str, Any]:
    """Return "decontamination" by set, "redaction" by kind, and "licences_not_allowed" with the documents each cost.

    Each is there only where its step was asked for.
    """
    found: dict[str, Any] = {}
    if settings.decontaminate is not None:
        noted = notes.of(CONTAMINATED)
        found["decontamination"] = {
            each.name: {**each.report(noted), "bytes": _dropped_bytes(balance, CONTAMINATED + each.name)}
            for each in searched
        }
    if settings.redact is not None:
        found["redaction"] = {
            kind: {
                "replaced": sum(int(word) * times for word, times in notes.of(REDACTED + kind).items()),
                "bytes": _dropped_bytes(balance, REDACTED + kind),
            }
            for kind in settings.redact.kinds
        }
    if settings.licences is not None and settings.licences.allow is not None:
        noted = notes.of(NOT_ALLOWED)
        found["licences_not_allowed"] = {word.replace("_", " "): noted[word] for word in sorted(noted)}
    return found


def check_evaluation_sets(settings: CorpusSettings, say: Callable[[str], None]) -> list[SearchedSet]:
    """Return the evaluation sets, and say how many items of each are too short to be searched.

    Raises DataError, before anything is read, for a set that can't be used: see Decontaminator.
    """
    if settings.decontaminate is None:
        return []
    searched = Decontaminator(settings.decontaminate).searched
    for name, labels, too_short in searched:
        if too_short:
            say(
                f"evaluation set {name}: {too_short:,} of {len(labels):,} items are not searched: they are "
                f"shorter than corpus.decontaminate.min_words={settings.decontaminate.min_words}, or in scripts "
                f"without spaces than min_characters={settings.decontaminate.min_characters}"
            )
    return searched


def _dropped_bytes(balance: Balance, reason: str) -> int:
    dropped = (sheet["dropped"] for sheet in balance.sources.values())
    return sum(amounts[reason]["bytes"] for amounts in dropped if reason in amounts)
