from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from headwater.corpus.build import build_corpus, corpus_key
from headwater.corpus.document import Document
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.quality.classifier import SHAPES, Classifier, classifier_step, shape_features, word_features
from headwater.corpus.quality.train_classifier import (
    area_under_curve,
    calibrate,
    examples_of,
    fit_weights,
    measure,
    read_examples,
    scores_of,
    train_and_measure,
    write_classifier,
)
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher, ngrams
from headwater.errors import DataError, StorageError
from headwater.sources.settings import CorpusSettings

NAMES = [f"entry_{number}" for number in range(200)]


def listing(seed):
    chosen = random.Random(seed).choices(NAMES, k=60)
    return "\n".join(f"{name} index next previous" for name in chosen)


def document(text, origin="page", kind="web", **meta):
    return Document(text, "source", origin, origin, kind, meta)


def story(seed):
    rng = random.Random(seed)
    return " ".join(f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}." for _ in range(30))


NOUNS = [
    "river",
    "stone",
    "cloud",
    "mountain",
    "winter",
    "garden",
    "letter",
    "window",
    "morning",
    "forest",
    "bridge",
    "harbour",
    "candle",
    "island",
]
VERBS = ["sees", "hides", "follows", "moves", "carries", "leaves", "finds", "crosses"]


@pytest.fixture(scope="module")
def documents():
    good = [(document(story(seed), f"good-{seed}"), True) for seed in range(60)]
    return good + [(document(listing(seed), f"bad-{seed}"), False) for seed in range(40)]


@pytest.fixture(scope="module")
def trained(documents):
    return train_and_measure(examples_of(documents, num_bits=10), regularisation=3.0)


@pytest.fixture
def folder(trained, tmp_path):
    write_classifier(*trained, tmp_path / "classifier")
    return tmp_path / "classifier"


def candidate(text, kind="web"):
    return Candidate(document(text, kind=kind), WordHasher())


def test_prose_and_listings_are_distinguished_on_documents_held_out(trained):
    classifier, report = trained
    held_out = report["held_out"]
    assert report["trained_on"] + held_out["positives"] + held_out["negatives"] == 100
    assert (held_out["auc"], held_out["precision"], held_out["recall"]) == (1.0, 1.0, 1.0)
    assert held_out["brier"] < 0.05
    assert classifier.score(candidate(story(999))) > 0.8
    assert classifier.score(candidate(listing(999))) < 0.2


def test_features_are_top_bits_of_words_and_pairs():
    hashes = WordHasher().hash(["the", "river", "runs"])
    pairs = ngrams(hashes, 2)
    expected = [int(value) >> 54 for value in [*hashes, *pairs]]
    assert word_features(hashes, 10).tolist() == expected
    assert word_features(hashes[:0], 10).tolist() == []


def test_shapes_of_any_text_are_small_numbers():
    for text in ("", "\n", "word", "a\n" * 1000, "x" * 100_000, "one sentence. " * 99):
        shapes = shape_features(text, len(text.split()))
        assert len(shapes) == len(SHAPES) and np.all(shapes >= 0) and np.all(shapes <= 2), (text[:20], shapes)


def test_a_document_scores_as_its_row_of_examples_does(trained, documents):
    classifier, _ = trained
    rows = scores_of(classifier, examples_of(documents, num_bits=10))
    alone = [classifier.score(candidate(each.text)) for each, _ in documents]
    assert np.abs(rows - alone).max() < 1e-6


def test_the_weights_are_those_of_a_plain_minimiser(documents):
    examples = examples_of(documents[30:90], num_bits=4)
    rows = examples.features.toarray()
    signs = np.where(examples.is_positive, 1.0, -1.0)
    weight = np.where(examples.is_positive, 0.5 / examples.is_positive.sum(), 0.5 / (~examples.is_positive).sum())

    def loss(w):
        return float(weight @ np.log1p(np.exp(-signs * (rows @ w)))) + 2.0 / len(signs) / 2 * float(w @ w)

    expected = minimize(loss, np.zeros(rows.shape[1]), method="BFGS", options={"gtol": 1e-8})
    assert np.abs(fit_weights(examples, 2.0) - expected.x).max() < 1e-2
    assert loss(fit_weights(examples, 2.0)) == pytest.approx(expected.fun, abs=1e-6)


def test_calibration_finds_the_line_that_made_the_labels():
    rng = np.random.default_rng(1)
    margins = rng.normal(0, 2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * margins - 0.4)))
    slope, offset = calibrate(margins, labels)
    assert (slope, offset) == (pytest.approx(0.7, abs=0.03), pytest.approx(-0.4, abs=0.05))


def test_calibration_of_sets_distinguished_entirely_stays_finite():
    slope, _ = calibrate(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0 < slope < 20


def test_area_under_the_curve_is_that_of_a_count_of_pairs():
    rng = random.Random(3)
    scores = np.array([rng.randrange(8) / 8 for _ in range(60)])
    labels = np.array([rng.random() < 0.4 for _ in range(60)])
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    assert area_under_curve(scores, labels) == pytest.approx(sum(pairs) / len(pairs))
    assert area_under_curve(scores[labels], labels[labels]) is None


def test_precision_and_recall_by_hand():
    report = measure(np.array([0.9, 0.6, 0.4, 0.7, 0.1]), np.array([True, True, True, False, False]))
    assert (report["precision"], report["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert report["brier"] == pytest.approx((0.01 + 0.16 + 0.36 + 0.49 + 0.01) / 5)


def folds_of(documents):
    return examples_of(documents, 10).folds


def test_documents_of_one_file_fall_in_one_fold_where_there_are_many_files(documents):
    twice = [(replace(each, id=f"{each.id}#{n}"), label) for each, label in documents for n in (1, 2)]
    folds = folds_of(twice)
    assert np.array_equal(folds[::2], folds[1::2])
    assert len(set(folds)) == 5


def test_the_lines_of_one_file_are_documents_of_their_own_and_parts_of_one_are_not(documents):
    lines = [(replace(each, origin="all.jsonl"), label) for each, label in documents]
    assert len(set(folds_of(lines))) == 5
    parts = [(replace(each, id=f"{each.id}/{n}"), label) for each, label in lines for n in (1, 2)]
    folds = folds_of(parts)
    assert np.array_equal(folds[::2], folds[1::2])


def test_a_group_goes_before_file_and_id(documents):
    grouped = [(replace(each, meta={"group": "one"}), label) for each, label in documents]
    assert len(set(folds_of(grouped))) == 1


def test_the_same_documents_give_the_same_bytes(documents, tmp_path):
    for name in ("one", "two"):
        write_classifier(*train_and_measure(examples_of(documents, num_bits=8), 3.0), tmp_path / name)
    for file in ("manifest.json", "weights.f32"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_classifier_is_read_as_it_was_written(trained, folder):
    read = Classifier.load(folder)
    assert np.array_equal(read.words, trained[0].words) and np.array_equal(read.shapes, trained[0].shapes)
    assert (read.bias, read.slope, read.offset) == (trained[0].bias, trained[0].slope, trained[0].offset)
    assert (folder / "weights.f32").stat().st_size == 4 * ((1 << 10) + len(SHAPES) + 1)


def test_a_written_classifier_is_never_overwritten(trained, folder):
    with pytest.raises(StorageError, match="never overwritten"):
        write_classifier(*trained, folder)


def test_a_flipped_bit_is_found(folder):
    data = bytearray((folder / "weights.f32").read_bytes())
    data[77] ^= 1
    (folder / "weights.f32").write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        Classifier.load(folder)


def test_other_features_are_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "shapes": ["length"]}))
    with pytest.raises(DataError, match="other features"):
        Classifier.load(folder)


def test_a_folder_that_is_no_classifier_is_an_error(tmp_path):
    with pytest.raises(DataError, match="not a headwater-classifier folder"):
        Classifier.load(tmp_path)


def test_too_few_documents_are_an_error_that_says_how_many(documents):
    with pytest.raises(DataError, match=r"the negative set has 1\d documents"):
        train_and_measure(examples_of(documents[:75], 8), 3.0)
    with pytest.raises(DataError, match="the positive set has 0 documents"):
        train_and_measure(examples_of([], 8), 3.0)


def test_too_few_to_train_on_is_reported_in_documents_that_were_given():
    kinds = [(f"word{number} and more of it", number < 19) for number in range(60)]
    documents = [(Document(text, "s", str(n), "one file", "web"), good) for n, (text, good) in enumerate(kinds)]
    with pytest.raises(DataError, match=r"positive set has 19 documents, and \d+ of them are held out") as raised:
        train_and_measure(examples_of(documents, 8), 3.0)
    assert "20 to train on are the least, about 25 in all" in str(raised.value)


def test_a_dropped_document_says_its_score():
    candidate = Candidate(Document("Some text.", "s", "d", "d", "web"), WordHasher())
    verdict = classifier_step(lambda candidate: 0.312, 0.5, None)(candidate)
    assert (verdict.reason, verdict.because) == ("low_quality", "score 0.31, 0.5 at least")
    assert classifier_step(lambda candidate: 0.5, 0.5, None)(candidate).because == ""


def test_only_the_kinds_named_are_scored():
    for kinds, asked in ((None, {"web", "books"}), (["web"], {"web"})):
        step = classifier_step(lambda _: 0.3, 0.5, kinds)
        dropped = {kind for kind in ("web", "books", "code", "almanac") if step(candidate("text", kind)).reason}
        assert dropped == asked
    assert classifier_step(lambda _: 0.5, 0.5, None)(candidate("text")).reason is None


def write_texts(place, texts):
    place.mkdir()
    for number, text in enumerate(texts):
        (place / f"{number}.txt").write_text(text)
    return str(place)


def test_documents_in_both_sets_are_skipped(tmp_path):
    texts = [story(seed) for seed in range(6)]
    positive, negative = write_texts(tmp_path / "p", texts[:4] + texts[:1]), write_texts(tmp_path / "n", texts[3:])
    said = []
    found = read_examples([positive], [negative], "web", said.append)
    assert sorted((text.text, label) for text, label in found) == sorted(
        [(text, True) for text in texts[:3]] + [(text, False) for text in texts[4:]]
    )
    assert said == ["1 of the documents are in both sets, and are skipped"]


def test_a_corpus_is_built_with_a_classifier_and_its_digest_is_in_the_key(tmp_path, folder):
    place = write_texts(tmp_path / "texts", [story(seed) for seed in range(3)] + [listing(4)])
    rules = {"text": {"max_top_ngram_fractions": None, "max_repeated_line_fraction": None}}
    table = {"sources": {"own": {"paths": [place]}}, "dedup": {"near": False}, "rules": rules}
    off = CorpusSettings.model_validate(table)
    on = CorpusSettings.model_validate({**table, "quality": {"classifier": str(folder)}})
    assert "low_quality" not in build_corpus(off, tmp_path / "off", print)["sources"]["own"]["dropped"]
    manifest = build_corpus(on, tmp_path / "on", print)
    assert manifest["sources"]["own"]["dropped"]["low_quality"]["documents"] == 1
    assert set(corpus_inputs(on)) - set(corpus_inputs(off)) == {"(classifier)"}
    before = corpus_key(on, corpus_inputs(on))
    changed = json.loads((folder / "manifest.json").read_text())
    changed["calibration"]["offset"] += 1
    (folder / "manifest.json").write_text(json.dumps(changed))
    assert corpus_key(on, corpus_inputs(on)) != before
