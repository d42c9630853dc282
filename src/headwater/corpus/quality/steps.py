"""The steps that judge a document's quality, in their order: language, rules, classifier."""

from __future__ import annotations

from pathlib import Path

from headwater.corpus.quality.classifier import Classifier, classifier_digest, classifier_step
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.language import LanguageModel, language_step, model_digest
from headwater.corpus.settings import CorpusSettings
from headwater.corpus.step import Step


def quality_steps(settings: CorpusSettings) -> list[Step]:
    """Return the steps that `settings` ask for; what they need (a language model, a classifier) is loaded here."""
    steps: list[Step] = []
    if settings.languages is not None:
        steps.append(language_step(settings.languages, settings.min_language_confidence, LanguageModel()))
    steps.append(rules_step(settings.rules))
    quality = settings.quality
    if quality.classifier is not None:
        score = Classifier.load(Path(quality.classifier)).score
        steps.append(classifier_step(score, quality.min_score, quality.kinds))
    return steps


def quality_inputs(settings: CorpusSettings) -> dict[str, str]:
    """Return the digests of what the steps read beside the sources: corpora made with others are not the same."""
    inputs = {}
    if settings.languages is not None:
        inputs["(language model)"] = model_digest()
    if settings.quality.classifier is not None:
        inputs["(classifier)"] = classifier_digest(Path(settings.quality.classifier))
    return inputs
