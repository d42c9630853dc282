"""A quality classifier: logistic regression over hashed words, pairs of words and the shape of the lines.

FOLDER/manifest.json    format, how features are made, calibration, what was measured on held-out documents
FOLDER/weights.f32      little-endian float32: one weight for each hash bucket, then for each shape, then the bias

A score is the probability that a document is one of the positive set, in a mix as that of the training sets. Words
see what a text is about and how it is written; shapes see menus, listings and tables whatever their words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.corpus.quality.broken import too_little
from headwater.corpus.quality.filter import alpha_fraction
from headwater.corpus.quality.lines import line_shapes
from headwater.corpus.quality.repetition import repeated_line_fraction
from headwater.corpus.step import Candidate, Step, Verdict
from headwater.corpus.words import ngrams
from headwater.errors import DataError
from headwater.files import digest_bytes, digest_json
from headwater.seals import read_manifest

FORMAT = "headwater-classifier"
FORMAT_VERSION = 1
WEIGHTS = "weights.f32"
MAX_WORDS = 2000  # a document is judged by its beginning: 2000 words say what it is
SHAPES = ("length", "letters", "sentences", "short_lines", "bullets", "lines_a_word", "repeated_lines", "word_length")
_SHORT_LINE_CHARACTERS = 30
_EXEMPT_KINDS = ("code", "almanac")


def word_features(hashes: np.ndarray, num_bits: int) -> np.ndarray:
    """Return the bucket of every word and of every pair of words that follow each other, of the first 2000 words."""
    hashes = hashes[:MAX_WORDS]
    both = np.concatenate((hashes, ngrams(hashes, 2))) if len(hashes) > 1 else hashes
    return (both >> np.uint64(64 - num_bits)).astype(np.int64)


def shape_features(text: str, num_words: int) -> np.ndarray:
    """Return the numbers named by SHAPES, each between 0 and about 1."""
    shapes = line_shapes(text, _SHORT_LINE_CHARACTERS)
    lines, characters, words = max(shapes.lines, 1), max(shapes.characters, 1), max(num_words, 1)
    return np.array(
        [
            np.log1p(len(text)) / 12,
            alpha_fraction(text),
            shapes.sentence_characters / characters,
            shapes.short_characters / characters,
            shapes.bullets / lines,
            min(shapes.lines / words, 1.0),
            repeated_line_fraction(text),
            min(len(text) / words / 12, 2.0),
        ],
        dtype=np.float32,
    )


@dataclass(frozen=True)
class Classifier:
    """Weights that score documents. `slope` and `offset` turn a sum of weights into a probability."""

    num_bits: int
    words: np.ndarray
    shapes: np.ndarray
    bias: float
    slope: float
    offset: float

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read a classifier; raise DataError for what is none, or is damaged."""
        manifest = read_manifest(folder, FORMAT, FORMAT_VERSION, DataError)
        data = _weights(folder, manifest)
        num_buckets = 1 << manifest["num_bits"]
        values = np.frombuffer(data, dtype="<f4")
        if manifest["shapes"] != list(SHAPES) or len(values) != num_buckets + len(SHAPES) + 1:
            raise DataError(f"{folder} is a classifier with other features than this headwater's; train it again")
        bias = float(values[-1])
        calibration = manifest["calibration"]
        return cls(
            num_bits=manifest["num_bits"],
            words=values[:num_buckets],
            shapes=values[num_buckets:-1],
            bias=bias,
            slope=calibration["slope"],
            offset=calibration["offset"],
        )

    def margin(self, features: np.ndarray, shapes: np.ndarray) -> float:
        """Return the weighted sum of a document's features, before calibration.

        Words are summed and divided by the root of their number: near to a normalised vector, without its sorting.
        """
        # float64: the sum of thousands of float32 depends on the order in which a machine adds them up
        total = float(self.words[features].sum(dtype=np.float64)) / max(len(features), 1) ** 0.5
        return total + float(shapes.astype(np.float64) @ self.shapes.astype(np.float64)) + self.bias

    def score(self, candidate: Candidate) -> float:
        """Return the probability that a document is good."""
        features = word_features(candidate.hashes, self.num_bits)
        shapes = shape_features(candidate.document.text, len(candidate.words))
        return float(1 / (1 + np.exp(-(self.slope * self.margin(features, shapes) + self.offset))))


def classifier_step(score: Callable[[Candidate], float], min_score: float, kinds: Sequence[str] | None) -> Step:
    """Return the step that drops, as low_quality, a document that scores less than `min_score`.

    Of documents of `kinds`; None stands for all but code and the almanac.
    """

    def step(candidate: Candidate) -> Verdict:
        kind = candidate.document.kind
        applies = kind not in _EXEMPT_KINDS if kinds is None else kind in kinds
        if applies and (found := score(candidate)) < min_score:
            return Verdict(candidate, "low_quality", because=f"score {too_little(found, min_score)}")
        return Verdict(candidate)

    return step


def classifier_digest(folder: Path) -> str:
    """Return the digest of a classifier, on which depends what is dropped; raise DataError for what is none."""
    manifest = read_manifest(folder, FORMAT, FORMAT_VERSION, DataError)
    return digest_json({name: manifest[name] for name in ("num_bits", "shapes", "calibration", "weights")})


def _weights(folder: Path, manifest: dict[str, Any]) -> bytes:
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise DataError(f"{folder / WEIGHTS} can't be read ({error.strerror}); train the classifier again") from error
    if digest_bytes(data) != manifest["weights"]:
        raise DataError(f"{folder / WEIGHTS} is damaged: its digest differs from the manifest's; train it again")
    return data
