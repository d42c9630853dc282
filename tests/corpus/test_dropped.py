from __future__ import annotations

import pytest

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.load import dropped_sample
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.settings import CorpusSettings

SHORT = "That is the end of it and of"  # half of English's stop words: no model is asked for its language


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus of two sources with short texts, duplicates and a page with a notice."""
    base = tmp_path_factory.mktemp("texts")
    for source in ("one", "two"):
        (base / source).mkdir()
        for number in range(12):
            (base / source / f"short-{number}.txt").write_text(f"{SHORT} {source} {number}.")
        for number in range(4):
            body = " ".join(
                f"Sentence {number} {at} of {source} tells of the river and of the sea." for at in range(40)
            )
            (base / source / f"long-{number}.txt").write_text(body)
    (base / "one" / "again.txt").write_text((base / "one" / "long-1.txt").read_text())
    (base / "two" / "notice.txt").write_text("We use cookies.\n" + (base / "two" / "long-2.txt").read_text()[50:])
    rules = {
        "web": {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None, "cut_notices": ["use cookies"]}
    }
    sources = {name: {"kind": "web", "paths": [str(base / name)]} for name in ("one", "two")}
    settings = CorpusSettings.model_validate({"sources": sources, "dedup": {"near": False}, "rules": rules})
    build_corpus(settings, base / "corpus", print)
    return base / "corpus"


def test_every_reason_is_shown_with_its_amount_and_examples(corpus):
    found = dropped_sample(corpus, None, None, 3)
    assert {reason: entry["documents"] for reason, entry in found.items()} == {
        "exact_duplicate": 1,
        "site_notice": 0,
        "too_short": 24,
    }
    assert {reason: len(entry["examples"]) for reason, entry in found.items()} == {
        "exact_duplicate": 1,
        "site_notice": 1,
        "too_short": 3,
    }
    cut = found["site_notice"]["examples"][0]
    assert (cut["source"], cut["bytes"], cut["excerpt"]) == ("two", len("We use cookies."), "We use cookies.")


def test_an_example_says_what_decided_where_the_reason_does_not(corpus):
    found = dropped_sample(corpus, None, "two", 1)
    assert found["too_short"]["examples"][0]["because"].endswith("200 at least (corpus.rules.web.min_characters)")
    assert "because" not in found["site_notice"]["examples"][0]


def test_what_was_redacted_stands_nowhere_and_its_surroundings_do(build, make_prose, tmp_path):
    """The things themselves are searched for in the bytes of every line of dropped/."""
    secret = "jane.doe@rivers-of-the-north.org"
    number = "+44 20 7946 0958"
    text = f"{make_prose(200)}\nAll questions about the river go to {secret} or by telephone to {number}, not to me.\n"
    files = {f"{at}.txt": make_prose(300, at) for at in range(3)} | {"letter.txt": text}
    build(files, redact={"kinds": ["email", "phone"]}, dedup={"near": False})
    (example,) = dropped_sample(tmp_path / "corpus", "redacted_email", None, 3)["redacted_email"]["examples"]
    assert example["because"] == "1 place in this document"
    assert example["excerpt"].endswith(
        "All questions about the river go to <EMAIL> or by telephone to <PHONE>, not to me."
    )
    lines = b"".join(read_lines(tmp_path / "corpus" / "dropped" / "mine")).decode()
    assert "<PHONE>" in lines
    assert not [part for part in (secret, number, "jane", "7946") if part in lines]


def test_the_sample_is_the_same_every_time_and_grows_by_adding(corpus):
    few = dropped_sample(corpus, "too_short", None, 3)["too_short"]["examples"]
    many = dropped_sample(corpus, "too_short", None, 9)["too_short"]["examples"]
    assert few == dropped_sample(corpus, "too_short", None, 3)["too_short"]["examples"]
    assert many[:3] == few
    assert len({example["source"] for example in many}) == 2, "a sample of both sources, not the first lines of one"


def test_what_is_not_there_is_an_error_that_lists_what_is(corpus):
    with pytest.raises(ConfigError, match="reasons here: too_short, exact_duplicate, site_notice"):
        dropped_sample(corpus, "ugly", None, 3)
    with pytest.raises(ConfigError, match="no source 'three'; it has one, two"):
        dropped_sample(corpus, None, "three", 3)


def test_a_damaged_shard_is_named(corpus, tmp_path):
    import shutil

    copy = shutil.copytree(corpus, tmp_path / "copy")
    shard = next((copy / "dropped" / "one").glob("*.jsonl.zst"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    with pytest.raises(DataError, match="zst is damaged"):
        dropped_sample(copy, None, None, 3)


def test_what_is_dropped_before_redaction_is_not_kept_unredacted(build, make_prose, tmp_path):
    """A document that shares its text with an evaluation set is dropped with its excerpt, in which an address stood."""
    question = "Which river carries the most water of all the rivers that flow into the northern sea in spring?"
    (tmp_path / "set.txt").write_text(question)
    files = {f"{at}.txt": make_prose(300, at) for at in range(3)}
    files["leak.txt"] = f"{question[:-1]}, asks jane.doe@rivers-of-the-north.org."
    build(files, decontaminate={"sets": {"quiz": [str(tmp_path / "set.txt")]}}, redact={}, dedup={"near": False})
    (example,) = dropped_sample(tmp_path / "corpus", "contaminated_quiz", None, 3)["contaminated_quiz"]["examples"]
    assert example["because"] == "item set.txt#1"
    assert "<EMAIL>" in example["excerpt"] and "jane.doe" not in example["excerpt"]
