"""corpus show --dropped, as a person calls it."""

from __future__ import annotations

import json

import pytest
from small_run import call, require_clear_error, write_run_file, write_texts

from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    base = tmp_path_factory.mktemp("place")
    (base / "texts").mkdir()
    for number in range(4):
        text = " ".join(f"Sentence {number} {at} tells of the river and of the sea." for at in range(40))
        (base / "texts" / f"long-{number}.txt").write_text(text)
    (base / "texts" / "long-9.txt").write_text((base / "texts" / "long-2.txt").read_text().upper())
    (base / "texts" / "hostile.txt").write_text("\x1b[2Jred\u202etxt.exe\n" + "again " * 30)
    rules = {"text": {"max_top_ngram_fractions": [0.9, 0.9, 0.9], "max_repeated_10gram_fraction": 0.6}}
    settings = {"sources": {"own": {"paths": [str(base / "texts")]}}, "dedup": {"near": False}, "rules": rules}
    build_corpus(CorpusSettings.model_validate(settings), base / "runs" / "mine" / "data" / "corpus", print)
    return base


def test_hostile_text_is_shown_as_escapes(place):
    said = call("corpus", "show", "--run", "runs/mine", "--dropped", cwd=place)
    assert said.status == 0, said
    assert "repeated_ngrams: 1 document, " in said.out
    assert "\\u202etxt.exe" in said.out
    assert not set(said.out) & {"\x1b", "\u202e"}


def test_the_balance_says_how_much_is_held_out(place):
    said = call("corpus", "show", "--run", "runs/mine", cwd=place)
    splits = json.loads(call("corpus", "show", "--run", "runs/mine", "--json", cwd=place).out)["splits"]
    (line,) = [line for line in said.out.splitlines() if "of it held out" in line]
    assert line.split()[-2] == str(splits["validation"]["own"]["documents"]) != "0"


def test_a_duplicate_says_of_what(place):
    said = call("corpus", "show", "--run", "runs/mine", "--reason", "exact_duplicate", cwd=place)
    (line,) = [line for line in said.out.splitlines() if "a duplicate of" in line]
    assert line.endswith("long-2.txt") and "own " in line


def test_what_decided_is_printed(place):
    said = call("corpus", "show", "--run", "runs/mine", "--reason", "repeated_ngrams", cwd=place)
    (line,) = [line for line in said.out.splitlines() if "because: " in line]
    assert "most frequent run of 2 words" in line and line.endswith("0.9 at most (corpus.rules.text)")


def test_json_holds_the_same(place):
    said = call("corpus", "show", "--run", "runs/mine", "--reason", "repeated_ngrams", "-n", "1", "--json", cwd=place)
    value = json.loads(said.out)
    (example,) = value["dropped"]["repeated_ngrams"]["examples"]
    assert {"id", "source", "origin", "bytes", "excerpt"} <= set(example)
    assert "\u202e" in example["excerpt"]


def test_an_unknown_reason_is_an_error_without_a_traceback(place):
    said = call("corpus", "show", "--run", "runs/mine", "--reason", "ugly", cwd=place)
    assert said.status == 2
    assert "reasons here: exact_duplicate, repeated_ngrams (docs/corpus.md explains them)" in said.err


def test_what_a_build_dropped_that_kept_nothing_can_be_seen_until_one_keeps_something(tmp_path):
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(("Hi.", "Ho.")):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    run_file = str(write_run_file(tmp_path / "mine.toml"))
    show = ("corpus", "show", "--run", "runs/mine")
    require_clear_error(call(*show[:2], "--dropped", *show[2:], cwd=tmp_path), "is no recipe, run file or run folder")
    require_clear_error(call("corpus", "build", run_file, cwd=tmp_path), "corpus is empty", "corpus show RUN --dropped")
    require_clear_error(call(*show, cwd=tmp_path), "kept too little", "--dropped")
    said = call(*show, "--dropped", cwd=tmp_path)
    assert said.status == 0, said
    assert "kept too little" in said.out and "too_short: 2 documents" in said.out and "Ho." in said.out
    write_texts(tmp_path / "texts", 4)
    assert call("corpus", "build", run_file, cwd=tmp_path).status == 0
    said = call(*show, "--dropped", "--json", cwd=tmp_path)
    assert said.json["dropped"]["too_short"]["documents"] == 2 and said.err == ""
    assert sorted(path.name for path in (tmp_path / "runs" / "mine" / "data").iterdir()) == ["corpus"]
