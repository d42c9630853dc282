"""The steps that judge a document's quality, in their order: language, rules, classifier."""

from __future__ import annotations

from headwater.corpus.filter import rules_step
from headwater.corpus.settings import CorpusSettings
from headwater.corpus.step import Step


def quality_steps(settings: CorpusSettings) -> list[Step]:
    """Return the steps that `settings` ask for; what they need (a language model, a classifier) is loaded here."""
    return [rules_step(settings.rules)]
