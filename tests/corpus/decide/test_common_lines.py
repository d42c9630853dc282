from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_counts import SiteCounts

from headwater.corpus.load import read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.rules import BoilerplateSettings


@pytest.fixture
def build_pages(build, tmp_path):
    """Return a function that builds a corpus of pages, none dropped as a copy; it returns the manifest and texts by name."""

    def build_from(pages, rules=None, **table):
        for old in (tmp_path / "in").rglob("*.txt"):
            old.unlink()
        source = {"paths": [str(tmp_path / "in")], "kind": "web"}
        rules = {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None, **(rules or {})}
        table |= {"dedup": {"exact": False, "near": False}, "engine": {"workers": 1}, "rules": {"web": rules}}
        manifest = build(pages, sources={"mine": source}, **table)
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


@given(
    st.lists(st.integers(1, 25), min_size=1, max_size=4), st.integers(2, 15), st.sampled_from([0.01, 0.3, 0.7, 1.0]),
    st.integers(5000, 40_000),
)  # fmt: skip
@settings(suppress_health_check=list(HealthCheck), max_examples=3, deadline=None)
def test_lines_are_cut_as_a_count_in_memory_does(build_pages, sizes, min_pages, min_share, task_bytes):
    pages = {f"{site}/{n:02d}.txt": page(n, site) for site, size in zip("abcd", sizes) for n in range(size)}
    rule = {"min_pages": min_pages, "min_share": min_share}
    manifest, texts = build_pages(pages, task_bytes=task_bytes, boilerplate=rule)
    counts = SiteCounts(BoilerplateSettings.model_validate(rule))
    for name, text in pages.items():
        counts.add(text, name[0])
    cuts = {name: counts.cut(text, name[0]) for name, text in pages.items()}
    found = {name: text for name, text in texts.items() if "/start" not in name}
    whole = {name: text.strip() for name, (text, _) in cuts.items() if len(pages) > 1}
    assert found == whole or len(pages) == 1  # of a single page the end is held out
    dropped = manifest["sources"]["mine"]["dropped"].get("boilerplate_lines", {"documents": 0, "bytes": 0})
    assert dropped["documents"] == 0 and bool(dropped["bytes"]) == any(cut for _, cut in cuts.values())


def test_of_pages_that_are_notice_what_is_left_is_judged_and_what_is_cut_is_shown(build_pages, tmp_path):
    notice = "This page was made by people who are proud of the long and winding notice below it."
    bodies = [*(page(number, "a") for number in range(10)), "Too short.", ""]
    pages = {f"{number:02d}.txt": f"{body}\n{notice}" for number, body in enumerate(bodies)}
    rules = {"min_characters": 20, "min_words": 3, "min_sentences": 0, "min_sentence_characters": 0}
    manifest, texts = build_pages(pages, rules, validation_fraction=1e-12)
    assert manifest["sources"]["mine"]["kept"]["documents"] == 10
    assert not any(notice in text for text in texts.values())
    dropped = manifest["sources"]["mine"]["dropped"]
    found = {reason: amount["documents"] for reason, amount in dropped.items()}
    assert found == {"boilerplate_lines": 1, "too_short": 1}
    lines = [json.loads(line) for line in read_lines(tmp_path / "corpus" / "dropped" / "mine")]
    assert sum(line["text"].endswith(notice) for line in lines) == 12
    assert {line["metadata"].get("because") for line in lines} >= {"without what others have, too: nothing"}
