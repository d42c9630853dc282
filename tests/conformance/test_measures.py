"""Every measure through one suite: the same values in any batch and at any time, of the types declared, of any text."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_classifier import make_classifier

from headwater.corpus import Column, Measure
from headwater.corpus.build import build_corpus
from headwater.corpus.clean import clean
from headwater.corpus.document import Document
from headwater.corpus.inputs import quality_inputs
from headwater.corpus.measures.chosen import OURS, chosen_measures
from headwater.corpus.measures.language import model_file
from headwater.corpus.measures.measure import measured, schema_of
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

KINDS = ("web", "books", "documentation", "code", "text", "almanac")
ODD = [
    "",
    " ",
    "\u2028",
    "12 13 14",
    "\U0010ffff",
    "é" * 40,
    "x" * 5000,
    "一" * 700,
    "\u0300" * 50,
    "a\n" * 300,
    "ที่การ" * 99,
]


class Shouting(Measure):
    columns = {"exclamations": Column(float, "exclamation marks for each sentence")}
    kinds = ["web", "text"]

    def measure(self, texts):
        return {"exclamations": [text.count("!") / max(text.count("."), 1) for text in texts]}


MODELS = {
    "good": {"class": "fasttext", "model": str(model_file()), "label": "en"},
    "lang": {"class": "fasttext", "model": str(model_file()), "kinds": ["web", "books"]},
    "score": {"class": "transformers", "kinds": ["web"]},
    "best": {"class": "transformers"},
}
MEASURES = [*OURS, "own", *MODELS]
DOCUMENTS = st.lists(st.tuples(st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"])),
                               st.sampled_from(KINDS)), max_size=9)  # fmt: skip


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function that makes a measure by its name."""
    top = tmp_path_factory.mktemp("models")
    folders = {name: make_classifier(top / name, labels) for name, labels in (("score", ["x"]), ("best", [*"abc"]))}
    models = {name: {"model": str(folders.get(name)), **each} for name, each in MODELS.items()}
    table = {"sources": {"s": {"paths": ["x"], "kind": "web"}}, "languages": ["en"]} | {
        "measures": models,
        "dedup": {"passage_words": 8},
    }
    found = CorpusSettings.model_validate(table)
    loads = {each.name: each.load for each in chosen_measures(found, quality_inputs(found))} | {"own": Shouting}
    assert set(loads) == set(MEASURES), "the suite is of every measure"
    return lambda name: loads[name]()


def values(measure, texts):
    hasher = WordHasher()
    candidates = [Candidate(Document(clean(text, kind), "s", "d", "x/y", kind), hasher) for text, kind in texts]
    found = measured(measure, candidates)
    assert found.schema == schema_of(measure) and len(found) == len(texts)
    return found.to_pylist()


@pytest.mark.parametrize("name", MEASURES)
@given(texts=DOCUMENTS, size=st.integers(1, 9))
@settings(suppress_health_check=list(HealthCheck), max_examples=8, deadline=None)
def test_a_text_has_the_same_values_in_any_batch_and_at_any_time(make, name, texts, size):
    one, other = make(name), make(name)
    whole = values(one, texts)
    assert values(other, texts) == whole == values(one, texts)
    assert values(other, texts[::-1])[::-1] == whole
    assert [row for at in range(0, len(texts), size) for row in values(one, texts[at : at + size])] == whole


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_texts_and_megabytes_have_values(make, name, kind):
    measure = make(name)
    assert len(values(measure, [(text, kind) for text in ODD])) == len(ODD)
    if kind in ("web", "code"):
        assert values(measure, [("The river runs past the mill, and on.\n" * 70_000, kind)])


@pytest.mark.parametrize("name", MEASURES)
def test_columns_say_what_they_are(make, name):
    columns = make(name).columns
    assert columns and all(column.what and isinstance(column.arrow_type, pa.DataType) for column in columns.values())


def test_a_lone_surrogate_reaches_no_measure(tmp_path):
    lines = ['{"text": "%s \\ud800 \\udfff"}' % (f"River {n} and the sea. " * 9) for n in range(9)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    table = {
        "sources": {"s": {"paths": [str(tmp_path / "x.jsonl")]}},
        "dedup": {"near": False},
        "engine": {"workers": 1},
    }
    table["rules"] = {"text": {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None}}
    table["rules"]["text"] |= {"max_replacement_fraction": None}
    manifest = build_corpus(CorpusSettings.model_validate(table), tmp_path / "corpus", lambda line: None)
    sheet = manifest["sources"]["s"]
    assert sheet["read"]["documents"] == 9
    assert sheet["kept"]["documents"] + sum(each["documents"] for each in sheet["dropped"].values()) == 9
