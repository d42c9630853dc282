"""What happens to one document between reader and split: clean, withhold probes, filter, find duplicates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.corpus.clean import clean
from headwater.corpus.dedup import ExactDuplicates, NearDuplicates
from headwater.corpus.document import Document, num_bytes
from headwater.corpus.quality import quality_steps
from headwater.corpus.settings import CorpusSettings
from headwater.corpus.spool import Spool
from headwater.corpus.step import Candidate, Cut
from headwater.corpus.withhold import withhold
from headwater.corpus.words import WordHasher


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cleaned document with its number in the spool, or the reason why it is dropped.

    `cuts` were taken out of a document that is kept.
    """

    document: Document
    reason: str | None = None
    number: int = -1
    cuts: tuple[Cut, ...] = ()


class Sieve:
    """Examines documents one after another; remembers those it kept, for the duplicates that come later."""

    def __init__(self, settings: CorpusSettings, held_out: Sequence[re.Pattern[str]], spool: Spool) -> None:
        self._settings = settings
        self._held_out = held_out
        self._spool = spool
        self._hasher = WordHasher()
        self._steps = quality_steps(settings)
        self._exact = ExactDuplicates()
        self._near = NearDuplicates(settings.dedup, self._hasher, lambda number: spool.document(number).text)

    def examine_(self, document: Document) -> Verdict:
        """Return what becomes of a document as read; one that is kept is added to the spool."""
        text, withheld = withhold(clean(document.text, document.kind), self._held_out)
        if text is None:
            return Verdict(document, "held_out_probe")
        document = replace(document, text=clean(text, document.kind) if withheld else text)
        cuts: tuple[Cut, ...] = (Cut("held_out_probe", num_bytes(withheld), withheld),) if withheld else ()
        candidate = Candidate(document, self._hasher)
        for step in self._steps:
            verdict = step(candidate)
            candidate, cuts = verdict.candidate, cuts + verdict.cuts
            if verdict.reason is not None:
                return Verdict(document, verdict.reason)
        return self._add_(candidate, cuts)

    def _add_(self, candidate: Candidate, cuts: tuple[Cut, ...]) -> Verdict:
        document = candidate.document
        if self._settings.dedup.exact and not self._exact.is_new_(candidate.words):
            return Verdict(document, "exact_duplicate")
        if not self._settings.dedup.near or document.kind in self._settings.dedup.near_exempt_kinds:
            return Verdict(document, None, self._spool.add_(document), cuts)
        original, keys = self._near.find(candidate.hashes)
        if original is not None:
            return Verdict(document, "near_duplicate")
        number = self._spool.add_(document)
        self._near.add_(number, keys)
        return Verdict(document, None, number, cuts)
