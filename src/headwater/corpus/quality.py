"""The steps that judge a document's quality, in their order: language, rules, classifier."""

from __future__ import annotations

from headwater.corpus.filter import rules_step
from headwater.corpus.language import LanguageModel, language_step, model_digest
from headwater.corpus.settings import CorpusSettings
from headwater.corpus.step import Step


def quality_steps(settings: CorpusSettings) -> list[Step]:
    """Return the steps that `settings` ask for; what they need (a language model, a classifier) is loaded here."""
    steps = [rules_step(settings.rules)]
    if settings.languages is not None:
        steps.insert(0, language_step(settings.languages, settings.min_language_confidence, LanguageModel()))
    return steps


def quality_inputs(settings: CorpusSettings) -> dict[str, str]:
    """Return the digests of what the steps read beside the sources: corpora made with others are not the same."""
    return {} if settings.languages is None else {"(language model)": model_digest()}
