"""A quality classifier: a fastText model (Joulin et al. 2016) that tells documents worth keeping by one of its labels.

Such models are what people publish (DCLM's, and those of others after it), and fastText trains them. They are read by
fasttext-predict, as the model that names languages is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headwater.core.errors import DataError
from headwater.core.files import digest_file
from headwater.corpus.measures.language import MORE_THAN_ALL_LABELS, PREFIX, load_model


def label_scorer(path: Path, label: str | None) -> Callable[[str], float]:
    """Return what gives a text's probability of a label, by the model of a file.

    Raises DataError for a file that is no model, and for a label that it hasn't, with those that it has.
    """
    try:
        model = load_model(path, "corpus.quality.classifier")
        labels, _ = model.predict("a", k=MORE_THAN_ALL_LABELS, threshold=-1.0)  # also those of probability 0
    except (ValueError, RuntimeError, MemoryError) as error:
        raise DataError(f"corpus.quality.classifier: {path} is no model of fastText ({error})") from error
    wanted = PREFIX + (label or "").removeprefix(PREFIX)
    if wanted not in labels:
        has = ", ".join(sorted(each.removeprefix(PREFIX) for each in labels)[:20])
        what = "needs the label of documents worth keeping" if label is None else f"has no label {label!r}"
        raise DataError(f"corpus.quality.classifier: {path} {what}; set corpus.quality.label to one of {has}")

    def score(text: str) -> float:
        found, probabilities = model.predict(" ".join(text.split()), k=MORE_THAN_ALL_LABELS, threshold=-1.0)
        return min(float(dict(zip(found, probabilities)).get(wanted, 0.0)), 1.0)  # they sum to a bit more than 1

    return score


def classifier_digest(path: Path) -> str:
    """Return the digest of a model, on which depends what is dropped; raise DataError where there is none."""
    if not path.is_file():
        raise DataError(f"corpus.quality.classifier: there is no file {path}; name a model of fastText (.bin or .ftz)")
    return digest_file(path)
