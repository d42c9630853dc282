"""Trains a quality classifier from two sets of documents, and measures it on documents that it never saw."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from scipy import sparse
from scipy.optimize import minimize

from headwater.corpus.clean import clean
from headwater.corpus.document import Document
from headwater.corpus.quality.classifier import (
    FORMAT,
    FORMAT_VERSION,
    SHAPES,
    WEIGHTS,
    Classifier,
    shape_features,
    word_features,
)
from headwater.corpus.read.source import read_files
from headwater.corpus.read.walk import list_files
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher
from headwater.errors import DataError
from headwater.files import digest_bytes, new_folder, write_bytes, write_json
from headwater.sources.settings import CorpusSettings, Kind, SourceSettings

NUM_BITS = 18  # 2^18 buckets: 1 MB of weights, which stay in a core's second-level cache
NUM_FOLDS = 5
MIN_DOCUMENTS = 20
_MAX_STEPS = 200
_PART_OF = re.compile(r"/\d+$")  # the end of the id of a part (read.limits.bounded)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Examples:
    """Documents as numbers: a row of `features` each, whether it is positive, and the fold that its origin fell in."""

    features: sparse.csr_matrix
    is_positive: np.ndarray
    folds: np.ndarray

    def where(self, chosen: np.ndarray) -> Examples:
        return Examples(self.features[chosen], self.is_positive[chosen], self.folds[chosen])


def read_examples(positive: list[str], negative: list[str], kind: Kind, say: Say) -> list[tuple[Document, bool]]:
    """Return the cleaned documents in the files and folders of both sets, without those found in both.

    Raises DataError for a path that names nothing.
    """
    sets = {"positive": positive, "negative": negative}
    sources = {name: SourceSettings(paths=paths, kind=kind) for name, paths in sets.items()}
    settings = CorpusSettings(sources=sources)
    found: dict[str, dict[bytes, Document]] = {}
    for name, paths in sets.items():
        found[name] = {}
        for piece in read_files(list_files(paths, f"--{name}"), name, settings):
            if isinstance(piece, Document) and (text := clean(piece.text, piece.kind)):
                document = Document(text, name, piece.id, piece.origin, piece.kind, piece.meta)
                found[name].setdefault(xxhash.xxh3_128_digest(text.encode()), document)
    both = found["positive"].keys() & found["negative"].keys()
    if both:
        say(f"{len(both):,} of the documents are in both sets, and are skipped")
    return [
        (document, name == "positive") for name in sources for key, document in found[name].items() if key not in both
    ]


def examples_of(documents: Sequence[tuple[Document, bool]], num_bits: int = NUM_BITS) -> Examples:
    """Return documents as numbers. Those that are alike (`_groups`) fall in one fold."""
    hasher = WordHasher()
    columns, values, starts, labels, folds = [], [], [0], [], []
    for (document, is_positive), group in zip(documents, _groups(documents), strict=True):
        candidate = Candidate(document, hasher)
        buckets = word_features(candidate.hashes, num_bits)
        unique, counts = np.unique(buckets, return_counts=True)
        shapes = shape_features(document.text, len(candidate.words))
        columns += [unique, (1 << num_bits) + np.arange(len(SHAPES) + 1)]
        values += [counts / max(len(buckets), 1) ** 0.5, shapes, [1.0]]
        starts.append(starts[-1] + len(unique) + len(SHAPES) + 1)
        labels.append(is_positive)
        folds.append(xxhash.xxh3_64_intdigest(group.encode(errors="surrogateescape")) % NUM_FOLDS)
    shape = (len(labels), (1 << num_bits) + len(SHAPES) + 1)
    data = np.concatenate(values) if values else np.empty(0)
    indices = np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)
    return Examples(sparse.csr_matrix((data, indices, starts), shape=shape), np.array(labels), np.array(folds))


def _groups(documents: Sequence[tuple[Document, bool]]) -> list[str]:
    """Return what each document is grouped by: its file, where both sets come from many files; else it alone.

    A long document that was read in parts is one, and a reader's own "group" goes before both.
    """
    files = {
        label: {document.origin for document, is_positive in documents if is_positive == label} for label in (0, 1)
    }
    is_by_file = min(map(len, files.values())) >= MIN_DOCUMENTS
    return [
        document.meta.get("group") or (document.origin if is_by_file else _PART_OF.sub("", document.id))
        for document, _ in documents
    ]


def fit_weights(examples: Examples, regularisation: float) -> np.ndarray:
    """Return the weights with the least sum of log losses plus regularisation/2 × the sum of their squares.

    Both classes count alike, whatever their numbers. The more documents, the less the squares weigh: they stand for
    a belief, held before any document is seen, that weights are small.
    """
    features, used = _used_columns(examples.features)
    signs = np.where(examples.is_positive, 1.0, -1.0)
    share = np.where(examples.is_positive, examples.is_positive.mean(), 1 - examples.is_positive.mean())
    importance = 0.5 / share / len(signs)
    penalty = regularisation / len(signs)
    transposed = features.T.tocsr()

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (features @ weights)
        loss = float(importance @ np.logaddexp(0, -margins)) + penalty / 2 * float(weights @ weights)
        pull = -importance * signs / (1 + np.exp(np.minimum(margins, 500)))
        return loss, transposed @ pull + penalty * weights

    done = minimize(objective, np.zeros(len(used)), jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS})
    weights = np.zeros(examples.features.shape[1])
    weights[used] = done.x
    return weights


def _used_columns(features: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the features without the columns that are empty, and the numbers of those left."""
    used, columns = np.unique(features.indices, return_inverse=True)
    shape = (features.shape[0], len(used))
    return sparse.csr_matrix((features.data, columns, features.indptr), shape=shape), used


def calibrate(margins: np.ndarray, is_positive: np.ndarray) -> tuple[float, float]:
    """Return the slope and offset that make a probability of a margin (Platt 1999), by Newton's method.

    Platt's targets stand for the labels, so that sets that a margin tells apart don't call for an infinite slope.
    """
    num_positive = int(is_positive.sum())
    high, low = (num_positive + 1) / (num_positive + 2), 1 / (len(is_positive) - num_positive + 2)
    targets = np.where(is_positive, high, low)
    design = np.column_stack((margins, np.ones(len(margins))))
    found = np.zeros(2)
    for _ in range(50):
        probabilities = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        spread = probabilities * (1 - probabilities)
        curvature = design.T @ (design * spread[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (targets - probabilities))
        found += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            break
    return float(found[0]), float(found[1])


def out_of_fold_margins(examples: Examples, regularisation: float) -> np.ndarray:
    """Return each document's margin by weights that were fitted without its fold."""
    margins = np.zeros(len(examples.is_positive))
    for fold in np.unique(examples.folds):
        held = examples.folds == fold
        weights = fit_weights(examples.where(~held), regularisation)
        margins[held] = examples.features[held] @ weights
    return margins


def train(examples: Examples, regularisation: float) -> Classifier:
    """Return a classifier fitted on all examples, calibrated by margins that each got from the others."""
    _require_enough(examples, np.zeros(len(examples.folds), dtype=bool))
    weights = fit_weights(examples, regularisation).astype("<f4")
    slope, offset = calibrate(out_of_fold_margins(examples, regularisation), examples.is_positive)
    num_buckets = len(weights) - len(SHAPES) - 1
    return Classifier(
        num_bits=num_buckets.bit_length() - 1,
        words=weights[:num_buckets],
        shapes=weights[num_buckets:-1],
        bias=float(weights[-1]),
        slope=slope,
        offset=offset,
    )


def _require_enough(examples: Examples, held: np.ndarray) -> None:
    """Raise DataError where too few documents of a set, or documents too much alike, are left beside those `held`."""
    for name, is_positive in (("positive", True), ("negative", False)):
        given = examples.is_positive == is_positive
        left = given & ~held
        count, folds = int(left.sum()), len(np.unique(examples.folds[left]))
        if count >= MIN_DOCUMENTS and folds >= 2:
            continue
        num_given, apart = int(given.sum()), int((given & held).sum())
        beside = f", and {apart} of them are held out to measure on, which leaves {count}" if held.any() else ""
        if folds >= 2 or num_given < MIN_DOCUMENTS:
            enough = f", about {-(-MIN_DOCUMENTS * NUM_FOLDS // (NUM_FOLDS - 1))} in all" if held.any() else ""
            need = f"{MIN_DOCUMENTS} to train on are the least{enough}: add some"
        else:
            need = "they are too much of one group (a file, or what its reader ties together): add others"
        raise DataError(f"the {name} set has {num_given} documents{beside}; {need}")


def scores_of(classifier: Classifier, examples: Examples) -> np.ndarray:
    """Return the probabilities of examples, as Classifier.score gives them for their documents."""
    weights = np.concatenate((classifier.words, classifier.shapes, [classifier.bias]))
    margins = examples.features @ weights.astype(np.float64)
    return 1 / (1 + np.exp(-(classifier.slope * margins + classifier.offset)))


def measure(scores: np.ndarray, is_positive: np.ndarray, threshold: float = 0.5) -> dict[str, Any]:
    """Return how well scores tell positives from negatives, and how true they are as probabilities."""
    kept = scores >= threshold
    hits = int((kept & is_positive).sum())
    return {
        "positives": int(is_positive.sum()),
        "negatives": int((~is_positive).sum()),
        "auc": area_under_curve(scores, is_positive),
        "threshold": threshold,
        "precision": hits / max(int(kept.sum()), 1),
        "recall": hits / max(int(is_positive.sum()), 1),
        "brier": float(np.mean((scores - is_positive) ** 2)),
    }


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Return the probability that a positive scores more than a negative, ties counting half; None without one."""
    positives, negatives = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    if not len(positives) or not len(negatives):
        return None
    below = np.searchsorted(negatives, positives, side="left").sum()
    not_above = np.searchsorted(negatives, positives, side="right").sum()
    return float((below + not_above) / 2 / (len(positives) * len(negatives)))


def train_and_measure(examples: Examples, regularisation: float) -> tuple[Classifier, dict[str, Any]]:
    """Return a classifier trained on four of five folds, and what it does on the fifth.

    Raises DataError where those four hold too few documents of a set.
    """
    held = examples.folds == 0
    _require_enough(examples, held)
    classifier = train(examples.where(~held), regularisation)
    held_out = examples.where(held)
    report = measure(scores_of(classifier, held_out), held_out.is_positive)
    return classifier, {"trained_on": int((~held).sum()), "regularisation": regularisation, "held_out": report}


def write_classifier(classifier: Classifier, report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a classifier to a new folder, and return its manifest. Raises StorageError for a folder that exists."""
    bias = np.array([classifier.bias], dtype="<f4")
    data = np.concatenate((classifier.words, classifier.shapes, bias)).astype("<f4").tobytes()
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "num_bits": classifier.num_bits,
        "shapes": list(SHAPES),
        "calibration": {"slope": classifier.slope, "offset": classifier.offset},
        "weights": digest_bytes(data),
        "report": report,
    }
    with new_folder(folder) as temporary:
        write_bytes(temporary / WEIGHTS, data)
        write_json(temporary / "manifest.json", manifest)
    return manifest
