"""Classifiers that others trained: their columns beside what their own library says, and what is none."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from made_classifier import ALPHABET, make_classifier
from pydantic import ValidationError

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.measures.chosen import chosen_measures, load_measure
from headwater.corpus.measures.language import model_file
from headwater.corpus.sources.own_code import MeasureSettings
from headwater.corpus.sources.settings import CorpusSettings

ENGLISH = "The river runs past the old mill, and the children who live there watch the boats go by every evening.\n"
GERMAN = "Der Fluss zieht an der alten Mühle vorbei, und die Kinder dort sehen am Abend den Schiffen nach.\n"


def measure_of(name, **settings):
    return load_measure(name, MeasureSettings.model_validate({"class": "fasttext", **settings}))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of models of transformers, by what they are."""
    top = tmp_path_factory.mktemp("models")
    kinds = {
        "one": (["LABEL_0"], {"problem_type": "regression"}),
        "three": (["poor", "fair", "good"], {}),
        "each": (["poor", "fair", "good"], {"problem_type": "multi_label_classification"}),
    }
    return {name: make_classifier(top / name, labels, **config) for name, (labels, config) in kinds.items()}


def test_a_model_of_fasttext_gives_the_probability_of_a_label_or_the_likeliest_one():
    texts = [ENGLISH * 3, GERMAN * 3, "", "\u2028"]
    english = measure_of("en", model=str(model_file()), label="en").measure(texts)["en"]
    assert english[0] > 0.9 > 0.1 > english[1] and all(0 <= value <= 1 for value in english)
    assert measure_of("en", model=str(model_file()), label="__label__en").measure(texts)["en"] == english
    found = measure_of("lang", model=str(model_file())).measure(texts)
    assert found["lang"][:2] == ["en", "de"] and found["lang_probability"][0] == pytest.approx(english[0], abs=1e-6)


@pytest.mark.parametrize("kind", ["one", "three", "each"])
def test_a_model_of_transformers_gives_what_its_own_pipeline_does(folders, kind):
    from transformers import pipeline

    draw = random.Random(kind)
    letters = [*ALPHABET, " ", " ", "\n"]
    texts = ["".join(draw.choices(letters, k=draw.choice([1, 3, 20, 90, 700]))) for _ in range(40)] + ["", ENGLISH * 99]
    theirs = pipeline("text-classification", model=str(folders[kind]), device="cpu", top_k=None)
    how = {"one": "none", "three": "softmax", "each": "sigmoid"}[kind]
    expected = [theirs([text], truncation=True, function_to_apply=how)[0] for text in texts]
    model = {"class": "transformers", "model": str(folders[kind])}
    if kind == "one":
        found = measure_of("score", **model).measure(texts)["score"]
        assert found == pytest.approx([each[0]["score"] for each in expected], abs=1e-5)
        rough = measure_of("score", **model, dtype="bfloat16").measure(texts)["score"]
        assert rough == pytest.approx(found, abs=0.5) and rough != found
        return
    found = measure_of("best", **model).measure(texts)
    assert found["best"] == [each[0]["label"] for each in expected]
    assert found["best_probability"] == pytest.approx([each[0]["score"] for each in expected], abs=1e-5)
    good = measure_of("good", **model, label="good").measure(texts)["good"]
    assert good == pytest.approx([{one["label"]: one["score"] for one in each}["good"] for each in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"class": "fasttext"}, ValidationError, r"needs model, a file \(.bin, .ftz\)"),
        ({"class": "transformers"}, ValidationError, "needs model, a folder with config.json"),
        ({"class": "mine.py:A", "label": "en"}, ValidationError, "label has no effect on class = .*mine.py:A"),
        ({"model": "LID", "gpus": 1}, ValidationError, "gpus has no effect on class = 'fasttext'"),
        ({"model": "LID", "kinds": ["wbe"]}, ConfigError, "corpus.measures.m.kinds has 'wbe'; use some of books"),
        ({"model": "LID", "label": "hq"}, DataError, r"measures.m.label: .* has no label 'hq'; set it to one of af, als"),
        ({"model": "JUNK"}, DataError, "measures.m.model: .* is no model of fastText"),
        ({"class": "transformers", "model": "JUNK"}, DataError, "measures.m.model: .* has no config.json of a model"),
        ({"class": "transformers", "model": "THREE", "label": "bad"}, DataError, "no label 'bad'; set it to one of fair, good"),
        ({"class": "transformers", "model": "NO WEIGHTS"}, DataError, "measures.m.model: .* can't be loaded"),
        ({"class": "transformers", "model": "THREE", "gpus": 1}, ConfigError, "gpus = 1: there is no GPU here"),
    ],
    ids=lambda case: str(case) if isinstance(case, dict) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_classifier_is_said(folders, tmp_path, monkeypatch, settings, error, said):
    (tmp_path / "JUNK").write_bytes(b"no model at all")
    shutil.copytree(folders["three"], tmp_path / "NO WEIGHTS")
    (tmp_path / "NO WEIGHTS" / "model.safetensors").rename(tmp_path / "NO WEIGHTS" / "pytorch_model.bin")
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: None)
    paths = {"LID": model_file(), "THREE": folders["three"], "JUNK": tmp_path / "JUNK"}
    if (model := settings.get("model")) is not None:
        settings = {**settings, "model": str(paths.get(model, tmp_path / model))}
    with pytest.raises(error, match=said):
        measure_of("m", **settings).measure([ENGLISH])


def test_several_classifiers_at_once_measure_and_limit_and_each_change_of_one_measures_it_again(
    build, folders, tmp_path
):
    lid, model = tmp_path / "lid.ftz", tmp_path / "model"
    shutil.copy(model_file(), lid)
    shutil.copytree(folders["three"], model)
    measures = {
        "english": {"class": "fasttext", "model": str(lid), "label": "en"},
        "lang": {"class": "fasttext", "model": str(lid)},
        "good": {"class": "transformers", "model": str(model), "label": "good", "kinds": ["text"]},
    }
    files = {f"{number}.txt": text * 3 for number, text in enumerate((ENGLISH, GERMAN, ENGLISH + ENGLISH.upper()))}
    rules = {"max_top_ngram_fractions": None, "max_repeated_line_fraction": None, "max_repeated_10gram_fraction": None}
    limits = {"text": {"english": {"min": 0.5}, "good": {"min": -1}}}
    table = {"measures": measures, "limits": limits, "dedup": {"near": False}, "rules": {"text": rules}}
    workers = {"workers": 2}  # in processes of their own, within their memory
    manifest = build(files, **table, engine=workers, task_bytes=1000)
    assert {name: each["documents"] for name, each in manifest["sources"]["mine"]["dropped"].items()} == {
        "english_too_low": 1
    }

    def facts(**changed):
        more = {name: {**measures[name], **change} for name, change in changed.items()}
        found = CorpusSettings.model_validate({"sources": {"s": {"paths": [__file__]}}, "measures": measures | more})
        inputs = corpus_inputs(found)
        return corpus_key(found, inputs), {each.name: each.key("") for each in chosen_measures(found, inputs)}

    before = facts()
    shutil.move(lid, tmp_path / "moved.ftz")
    moved = {"model": str(tmp_path / "moved.ftz")}
    assert facts(english=moved, lang=moved) == before
    shutil.copy(tmp_path / "moved.ftz", lid)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "id2label": {"0": "good", "1": "fair", "2": "poor"}}))
    for key, keys, name in (
        (*facts(), "good"),
        (*facts(good={"label": "fair"}), "good"),
        (*facts(english={"label": "de"}, good=measures["good"]), "english"),
    ):
        assert key != before[0]
        assert name in {each for each in keys if keys[each] != before[1][each]} <= {name, "good"}
