from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from headwater.core.errors import DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.decide.documents import judged
from headwater.corpus.document import Document
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.measures.classifier import classifier_digest, label_scorer
from headwater.corpus.measures.language import model_file
from headwater.corpus.sources.settings import CorpusSettings

ENGLISH = "The river runs past the old mill, and the children who live there watch the boats go by every evening.\n"
GERMAN = "Der Fluss zieht an der alten Mühle vorbei, und die Kinder dort sehen am Abend den Schiffen nach.\n"


@pytest.fixture
def model() -> Path:
    """A model of fastText: its labels are languages, one of which stands for worth keeping."""
    return model_file()


def test_a_text_scores_the_probability_of_the_label(model):
    score = label_scorer(model, "en")
    assert score(ENGLISH * 3) > 0.9
    assert score(GERMAN * 3) < 0.1
    assert score(GERMAN * 3) + label_scorer(model, "de")(GERMAN * 3) <= 1.01
    assert label_scorer(model, "__label__en")(ENGLISH) == score(ENGLISH)


@pytest.mark.parametrize("text", ["", "\u2028\u2029", "12 13 14", "x" * 5000, "\U0010ffff\n\n"])
def test_any_text_has_a_score(model, text):
    assert 0 <= label_scorer(model, "en")(text) <= 1


@pytest.mark.parametrize(
    ("label", "said"),
    [("hq", r"has no label 'hq'; set corpus\.quality\.label to one of af, als"), (None, "needs the label")],
)
def test_a_label_that_the_model_does_not_know_is_refused_with_those_it_has(model, label, said):
    with pytest.raises(DataError, match=said):
        label_scorer(model, label)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*name a model of fastText"):
        classifier_digest(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"no model at all")
    with pytest.raises(DataError, match="is no model of fastText"):
        label_scorer(tmp_path / "model.bin", "hq")


@pytest.mark.parametrize(("kinds", "asked"), [(None, {"web", "books"}), (["web", "code"], {"web", "code"})])
def test_documents_of_the_kinds_asked_about_are_dropped_below_the_score(model, kinds, asked):
    score = label_scorer(model, "en")(GERMAN)
    for least, dropped in ((score, set()), (score + 1e-9, asked)):
        quality = {"classifier": str(model), "label": "en", "min_score": least, "kinds": kinds}
        rules = {family: {"min_characters": 0} for family in ("web", "prose", "code")}
        rules["web"] = {**rules["web"], "min_words": 0, "min_sentences": 0, "min_sentence_characters": 0}
        table = {"sources": {"s": {"paths": ["x"]}}, "quality": quality, "rules": rules}
        documents = [Document(GERMAN, "s", kind, "d", kind) for kind in ("web", "books", "code", "almanac")]
        found = judged(documents, CorpusSettings.model_validate(table))
        assert {each.document.kind for each in found if each.reason} == dropped
        assert {each.reason for each in found} <= {None, "low_quality"}
        shown = {each.because for each in found if each.reason}
        assert all(re.fullmatch(r"score 0\.\d+, 0\.\d+ at least", because) for because in shown)


def test_a_corpus_is_built_with_a_classifier_whose_digest_is_an_input(model, tmp_path):
    (tmp_path / "texts").mkdir()
    for number, text in enumerate((ENGLISH, GERMAN, f"{ENGLISH}{ENGLISH.upper()}")):
        (tmp_path / "texts" / f"{number}.txt").write_text(text * 3)
    copy = shutil.copy(model, tmp_path / "model.ftz")
    rules = {"max_top_ngram_fractions": None, "max_repeated_line_fraction": None, "max_repeated_10gram_fraction": None}
    table = {
        "sources": {"own": {"paths": [str(tmp_path / "texts")]}},
        "dedup": {"near": False},
        "rules": {"text": rules},
    }
    off = CorpusSettings.model_validate(table)
    on = CorpusSettings.model_validate({**table, "quality": {"classifier": str(copy), "label": "en"}})
    assert "low_quality" not in build_corpus(off, tmp_path / "off", print)["sources"]["own"]["dropped"]
    manifest = build_corpus(on, tmp_path / "on", print)
    assert manifest["sources"]["own"]["dropped"]["low_quality"]["documents"] == 1
    inputs = corpus_inputs(on)
    assert set(inputs) - set(corpus_inputs(off)) == {"(classifier)"}
    with open(copy, "ab") as file:
        file.write(b"\0")
    assert corpus_inputs(on)["(classifier)"] != inputs["(classifier)"]
