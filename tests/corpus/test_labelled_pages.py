"""The labelled pages are what their README says, and the default rules for web pages do on them what it claims."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.rules import RuleSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

FOLDER = Path(__file__).parents[2] / "benchmarks" / "data" / "filtering"
FREE = {"public domain", "PSF-2.0", "PostgreSQL", "BSD-3-Clause", "MIT", "MIT OR Apache-2.0", "Apache-2.0"}
FREE |= {"CC-BY-3.0", "CC-BY-SA-3.0", "GPL-2.0-or-later", "GPL-2.0-or-later OR CC-BY-SA-3.0"}


@pytest.fixture(scope="module")
def pages():
    return [json.loads(line) for line in (FOLDER / "pages.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_page_has_a_label_a_licence_and_one_split_by_its_site(pages):
    assert len({page["id"] for page in pages}) == len(pages) == 192
    assert len({page["text"] for page in pages}) == 192
    assert {page["licence"] for page in pages} <= FREE
    assert all(bool(page["why"]) != page["keep"] for page in pages)
    splits = {(page["site"], page["split"]) for page in pages}
    assert len(splits) == len({site for site, _ in splits}), "a site is in both splits"
    assert (FOLDER / "pages.jsonl").stat().st_size < 500_000


def test_the_readme_counts_what_is_there(pages):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = Counter((page["split"], page["keep"]) for page in pages)
    for split in ("dev", "test"):
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| {split} |")]
        assert row.endswith(f"| {counts[split, True]} | {counts[split, False]} |")
    assert {page["why"] for page in pages if page["why"]} <= {
        word.strip("`") for word in readme.replace(",", " ").split()
    }


@pytest.mark.parametrize(("split", "precision", "recall"), [("dev", 0.95, 0.85), ("test", 0.95, 0.65)])
def test_the_default_rules_drop_pages_for_a_reason(pages, split, precision, recall):
    step, hasher = rules_step(RuleSettings()), WordHasher()
    chosen = [page for page in pages if page["split"] == split and page["why"] != "other_language"]
    right = wrong = 0
    for page in chosen:
        document = Document(page["text"], "pages", page["id"], page["origin"], "web", {"language": "en"})
        if step(Candidate(document, hasher)).reason is not None:
            right, wrong = right + (not page["keep"]), wrong + page["keep"]
    num_bad = sum(not page["keep"] for page in chosen)
    assert right / (right + wrong) >= precision, (right, wrong)
    assert right / num_bad >= recall, (right, num_bad)
