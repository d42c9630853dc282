from __future__ import annotations

import json
import random

import pytest
from site_counts import SiteCounts
from small_pieces import cut_into_pieces

from headwater.corpus.load import read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.rules import BoilerplateSettings


@pytest.fixture
def build_pages(build, tmp_path):
    """Return a function that builds a corpus of pages, none dropped as a copy; it returns the manifest and texts by name."""

    def build_from(pages, rules=None, **settings):
        source = {"paths": [str(tmp_path / "in")], "kind": "web"}
        rules = {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None, **(rules or {})}
        settings |= {"dedup": {"exact": False, "near": False}, "engine": {"workers": 1}, "rules": {"web": rules}}
        manifest = build(pages, sources={"mine": source}, **settings)
        found = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "mine")]
        return manifest, {document.origin.removeprefix(f"{tmp_path}/in/"): document.text for document in found}

    return build_from


def page(number, site):
    chance = random.Random(f"{site} {number}")
    names = ["the", "and", "of", "river", "stone", "cloud", "garden", "bridge"]
    body = [" ".join(chance.choices(names, k=14)).capitalize() + "." for _ in range(16)]
    body.insert(9, f"This page of {site} was last changed by a robot that nobody has met.")
    menu = ["Home", "Contents"] if number % 3 else ["Home"]
    return "\n".join([*menu, f"Page {number} of {site}", *body, "Imprint"])


def test_boilerplate_is_cut_as_a_count_in_memory_does(build_pages, monkeypatch):
    cut_into_pieces(
        monkeypatch, ROWS_A_RANGE=40, MOST_TASKS=5, ROWS_A_FILE=4, FLAGS_A_FILE=3, MOST_FILES=2, MOST_MERGED=4,
        ROWS_AT_ONCE=8, SLICE_ROWS=3, SEGMENT_DOCUMENTS=5,
    )  # fmt: skip
    sizes = {"a": 24, "b": 15, "c": 4}
    pages = {f"{site}/{number:02d}.txt": page(number, site) for site in sizes for number in range(sizes[site])}
    manifest, texts = build_pages(pages, task_bytes=20_000)
    counts = SiteCounts(BoilerplateSettings())
    for name, text in pages.items():
        counts.add(text, name[0])
    expected = {name: counts.cut(text, name[0])[0].strip() for name, text in pages.items()}
    assert texts == expected
    assert "Contents" not in expected["a/01.txt"]
    assert "robot" in expected["c/01.txt"], "four pages are too few to say"
    assert manifest["sources"]["mine"]["dropped"]["boilerplate_lines"]["documents"] == 0


def test_of_pages_that_are_notice_what_is_left_is_judged_and_what_is_cut_is_shown(build_pages, tmp_path):
    notice = "This page was made by people who are proud of the long and winding notice below it."
    bodies = [*(page(number, "a") for number in range(10)), "Too short.", ""]
    pages = {f"{number:02d}.txt": f"{body}\n{notice}" for number, body in enumerate(bodies)}
    rules = {"min_characters": 20, "min_words": 3, "min_sentences": 0, "min_sentence_characters": 0}
    manifest, texts = build_pages(pages, rules, validation_fraction=1e-12)
    assert manifest["sources"]["mine"]["kept"]["documents"] == 10
    assert not any(notice in text for text in texts.values())
    dropped = manifest["sources"]["mine"]["dropped"]
    assert {reason: amount["documents"] for reason, amount in dropped.items()} == {
        "boilerplate_lines": 1,
        "too_short": 1,
    }
    lines = [json.loads(line) for line in read_lines(tmp_path / "corpus" / "dropped" / "mine")]
    assert sum(line["text"].endswith(notice) for line in lines) == 12
    assert {line["metadata"].get("because") for line in lines} >= {"without what others have, too: nothing"}
