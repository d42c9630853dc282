from __future__ import annotations

import json
import random

from site_counts import SiteCounts

from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.rules import BoilerplateSettings
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks import filter, merge, repeats, results, runs, segments


def build(folder, table):
    manifest = build_corpus(CorpusSettings.model_validate(table), folder / "corpus", lambda line: None)
    documents = [d for split in ("train", "validation") for d in read_documents(folder / "corpus", split, "mine")]
    return manifest, documents


def page(number, site):
    chance = random.Random(f"{site} {number}")
    names = ["the", "and", "of", "river", "stone", "cloud", "garden", "bridge"]
    body = [" ".join(chance.choices(names, k=14)).capitalize() + "." for _ in range(16)]
    body.insert(9, f"This page of {site} was last changed by a robot that nobody has met.")
    menu = ["Home", "Contents"] if number % 3 else ["Home"]
    return "\n".join([*menu, f"Page {number} of {site}", *body, "Imprint"])


def test_boilerplate_is_cut_as_a_count_in_memory_does(tmp_path, monkeypatch):
    for module, name, size in (
        (runs, "ROWS_A_RANGE", 40), (runs, "MOST_TASKS", 5), (results, "ROWS_A_FILE", 4), (segments, "FLAGS_A_FILE", 3),
        (merge, "MOST_FILES", 2), (merge, "MOST_MERGED", 4), (merge, "ROWS_AT_ONCE", 8), (runs, "SLICE_ROWS", 3),
        (repeats, "SLICE_ROWS", 3), (filter, "SEGMENT_DOCUMENTS", 5),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, size)
    pages = {}
    for site, count in (("a", 24), ("b", 15), ("c", 4)):
        for number in range(count):
            path = tmp_path / "in" / site / f"{number:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page(number, site))
            pages[str(path)] = (page(number, site), site)
    table = {
        "sources": {"mine": {"paths": [str(tmp_path / "in")], "kind": "web"}},
        "dedup": {"exact": False, "near": False},
        "rules": {"web": {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None}},
        "task_bytes": 20_000,
        "engine": {"workers": 1},
    }
    manifest, documents = build(tmp_path, table)
    counts = SiteCounts(BoilerplateSettings())
    for text, site in pages.values():
        counts.add(text, site)
    expected = {path: counts.cut(text, site)[0].strip() for path, (text, site) in pages.items()}
    assert {document.origin: document.text for document in documents} == expected
    assert "Contents" not in expected[str(tmp_path / "in" / "a" / "01.txt")]
    assert "robot" in expected[str(tmp_path / "in" / "c" / "01.txt")], "four pages are too few to say"
    assert manifest["sources"]["mine"]["dropped"]["boilerplate_lines"]["documents"] == 0


def test_of_pages_that_are_notice_what_is_left_is_judged_and_what_is_cut_is_shown(tmp_path):
    notice = "This page was made by people who are proud of the long and winding notice below it."
    (tmp_path / "in").mkdir()
    bodies = [page(number, "a") for number in range(10)]
    for number, body in enumerate([*bodies, "Too short.", ""]):
        (tmp_path / "in" / f"{number:02d}.txt").write_text(f"{body}\n{notice}")
    rules = {"max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None, "min_characters": 20}
    rules |= {"min_words": 3, "min_sentences": 0, "min_sentence_characters": 0}
    table = {
        "sources": {"mine": {"paths": [str(tmp_path / "in")], "kind": "web"}},
        "dedup": {"exact": False, "near": False},
        "rules": {"web": rules},
        "engine": {"workers": 1},
        "validation_fraction": 1e-12,
    }
    manifest, documents = build(tmp_path, table)
    assert manifest["sources"]["mine"]["kept"]["documents"] == 10 and not any(
        notice in document.text for document in documents
    )
    dropped = manifest["sources"]["mine"]["dropped"]
    assert {reason: amount["documents"] for reason, amount in dropped.items()} == {
        "boilerplate_lines": 1,
        "too_short": 1,
    }
    lines = [json.loads(line) for line in read_lines(tmp_path / "corpus" / "dropped" / "mine")]
    assert sum(line["text"].endswith(notice) for line in lines) == 12
    assert {line["metadata"].get("because") for line in lines} >= {"without what others have, too: nothing"}
