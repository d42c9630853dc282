"""What happens to one document between reader and split: clean, withhold probes, filter, find duplicates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.corpus.clean import clean
from headwater.corpus.dedup import ExactDuplicates, NearDuplicates
from headwater.corpus.document import Document
from headwater.corpus.filter import drop_reason
from headwater.corpus.settings import CorpusSettings
from headwater.corpus.spool import Spool
from headwater.corpus.withhold import withhold
from headwater.corpus.words import WordHasher, words_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cleaned document with its number in the spool, or the reason why it is dropped.

    `withheld` was cut out of a document that is kept, because it held a probe.
    """

    document: Document
    reason: str | None = None
    number: int = -1
    withheld: str = ""


class Sieve:
    """Examines documents one after another; remembers those it kept, for the duplicates that come later."""

    def __init__(self, settings: CorpusSettings, held_out: Sequence[re.Pattern[str]], spool: Spool) -> None:
        self._settings = settings
        self._held_out = held_out
        self._spool = spool
        self._hasher = WordHasher()
        self._exact = ExactDuplicates()
        self._near = NearDuplicates(settings.dedup, self._hasher, lambda number: spool.document(number).text)

    def examine_(self, document: Document) -> Verdict:
        """Return what becomes of a document as read; one that is kept is added to the spool."""
        text, withheld = withhold(clean(document.text, document.kind), self._held_out)
        if text is None:
            return Verdict(document, "held_out_probe")
        document = replace(document, text=clean(text, document.kind) if withheld else text)
        words = words_of(document.text)
        hashes = self._hasher.hash(words)
        reason = drop_reason(document.text, document.kind, self._settings.rules, words, hashes)
        if reason is None and self._settings.dedup.exact and not self._exact.is_new_(words):
            reason = "exact_duplicate"
        if reason is not None:
            return Verdict(document, reason)
        if not self._settings.dedup.near or document.kind in self._settings.dedup.near_exempt_kinds:
            return Verdict(document, None, self._spool.add_(document), withheld)
        original, keys = self._near.find(hashes)
        if original is not None:
            return Verdict(document, "near_duplicate")
        number = self._spool.add_(document)
        self._near.add_(number, keys)
        return Verdict(document, None, number, withheld)
