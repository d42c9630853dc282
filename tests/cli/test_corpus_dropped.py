"""corpus show --dropped, as a person calls it."""

from __future__ import annotations

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
    hostile = (base / "texts" / "long-3.txt").read_text() + " A red\u202e\x9b31m alert \x1b[31m."
    (base / "texts" / "long-8.txt").write_text(hostile.replace("river", "alley"))
    rules = {"text": {"max_top_ngram_fractions": [0.9, 0.9, 0.9], "max_repeated_10gram_fraction": 0.6}}
    settings = {"sources": {"own": {"paths": [str(base / "texts")]}}, "dedup": {"near": False}, "rules": rules}
    build_corpus(CorpusSettings.model_validate(settings), base / "runs" / "mine" / "data" / "corpus", print)
    return base


def show(place, *words: str):
    said = call("corpus", "show", "--run", "runs/mine", *words, cwd=place)
    assert said.status == 0, said
    return said


SHOWN = {  # the words, and of which lines which end
    "--dropped": ("repeated_ngrams: 1 document, ", ""),
    "--reason exact_duplicate": ("a duplicate of", "long-2.txt"),
    "--reason repeated_ngrams": (
        "the most frequent run of 2 words covers: ",
        "0.9 at most (corpus.rules.text.max_top_ngram_fractions)",
    ),
}


@pytest.mark.parametrize("words", SHOWN)
def test_what_was_dropped_is_shown_with_why_and_hostile_text_as_escapes(place, words):
    said, (begins, ends) = show(place, *words.split()).out, SHOWN[words]
    assert [line.endswith(ends) for line in said.splitlines() if begins in line] == [True], said
    assert not set(said) & {"\x1b", "\u202e"}
    assert ("\\u202etxt.exe" in said) == ("exact" not in words)


def test_a_text_that_is_traced_is_shown_with_escapes(place):
    said = call("corpus", "trace", "runs/mine", "alert", cwd=place)
    assert said.status == 0 and "1 document holds this text" in said.out, said
    assert "\\u202e" in said.out and not set(said.out) & {"\x1b", "\x9b", "\u202e"}


def test_the_balance_says_how_much_is_held_out(place):
    (line,) = [line for line in show(place).out.splitlines() if "of it held out" in line]
    held_out = show(place, "--json").json["splits"]["validation"]["own"]["documents"]
    assert line.split()[-2] == str(held_out) != "0"


def test_json_holds_the_same(place):
    (example,) = show(place, "--reason", "repeated_ngrams", "-n", "1", "--json").json["dropped"]["repeated_ngrams"][
        "examples"
    ]
    assert {"id", "source", "origin", "bytes", "excerpt"} <= set(example)
    assert "\u202e" in example["excerpt"]


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
    assert sorted(path.name for path in (tmp_path / "runs" / "mine" / "data").iterdir()) == [".corpus-work", "corpus"]
