"""What the tasks that one process does share, so that it is made once: plan, steps, measures, hashers, open files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

from headwater.corpus.measures.boilerplate import BoilerplateRule, boilerplate_rule
from headwater.corpus.measures.chosen import KEYS, STATISTICS
from headwater.corpus.measures.keys import Keys
from headwater.corpus.measures.measure import Measure
from headwater.corpus.measures.statistics import Statistics
from headwater.corpus.pipeline import make_steps
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import Step
from headwater.corpus.tasks.work import open_work
from headwater.corpus.words import WordHasher


class WorkerContext:
    """A process's place of work: `address` is the work's; `on_read` gets the bytes of every document that is read."""

    def __init__(self, address: str, on_read: Callable[[int], None]) -> None:
        self.work, self.on_read = open_work(address), on_read
        self.measure = cache(self._load_measure)

    def _load_measure(self, name: str) -> Measure:
        return self.work.measures[name].load()

    @property
    def settings(self) -> CorpusSettings:
        return self.work.plan.settings

    @cached_property
    def steps(self) -> list[Step]:
        return make_steps(self.settings)

    @cached_property
    def boilerplate(self) -> BoilerplateRule | None:
        return boilerplate_rule(self.settings)

    @cached_property
    def hasher(self) -> WordHasher:
        return WordHasher()

    @property
    def statistics(self) -> Statistics:
        found = self.measure(STATISTICS)
        assert isinstance(found, Statistics)
        return found

    @property
    def keys(self) -> Keys:
        found = self.measure(KEYS)
        assert isinstance(found, Keys)
        return found
