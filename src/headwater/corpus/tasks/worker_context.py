"""What the tasks that one process does share, so that it is made once: plan, steps, hashers, open files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, partial
from pathlib import Path

from headwater.corpus.pipeline import make_steps
from headwater.corpus.quality.boilerplate import BoilerplateRule, boilerplate_rule
from headwater.corpus.quality.limits import LimitsByText
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import Step
from headwater.corpus.tasks.candidates import CandidateTexts
from headwater.corpus.tasks.results import Results
from headwater.corpus.tasks.runs import SortedRuns
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Work
from headwater.corpus.words import MinHash, WordHasher


class WorkerContext:
    """A process's place of work in a work folder."""

    def __init__(self, folder: Path) -> None:
        self.work = Work(folder)
        self.results = cache(partial(Results, self.work))  # what the tasks of a stage found; all of them are done
        self.on_read: Callable[[int], None] = lambda num_bytes: None  # told the bytes of every document that is read

    @property
    def settings(self) -> CorpusSettings:
        return self.work.plan.settings

    @cached_property
    def steps(self) -> list[Step]:
        return make_steps(self.settings, self.find_limits)

    @cached_property
    def boilerplate(self) -> BoilerplateRule | None:
        return boilerplate_rule(self.settings)

    @cached_property
    def find_limits(self) -> LimitsByText:
        return LimitsByText()

    @cached_property
    def hasher(self) -> WordHasher:
        return WordHasher()

    @cached_property
    def minhash(self) -> MinHash:
        return MinHash(self.settings.dedup)

    @cached_property
    def segments(self) -> Segments:
        """All candidates' numbers; known once everything is filtered."""
        return Segments(self.work)

    @cached_property
    def runs(self) -> SortedRuns:
        return SortedRuns(self.work, self.segments)

    @cached_property
    def candidate_texts(self) -> CandidateTexts:
        """The texts of all candidates, by number."""
        return CandidateTexts(lambda part: self.work.path_of("filter", part), self.segments.part_bounds)
