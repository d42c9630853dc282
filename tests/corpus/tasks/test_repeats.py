from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_counts import SiteCounts

from headwater.corpus.build import build_corpus
from headwater.corpus.clean import clean
from headwater.corpus.load import read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.tasks import filter, flags, merge, repeats, results, runs
from headwater.sources.rules import BoilerplateSettings
from headwater.sources.settings import CorpusSettings

NO_RULES = {"text": {"min_characters": 0, "min_alpha_fraction": None, "max_repeated_line_fraction": None}}
NO_RULES["text"] |= {"min_mean_word_length": 0, "max_top_ngram_fractions": None, "max_repeated_10gram_fraction": None}


def build(folder, texts, task_bytes=10_000_000, rules=NO_RULES, **dedup):
    """Build a corpus of `texts`, in files of three, and return its manifest and the text of each kept, by number."""
    source = folder / "in"
    source.mkdir()
    for start in range(0, len(texts), 3):
        lines = [json.dumps({"text": text}) for text in texts[start : start + 3]]
        (source / f"{start:05d}.jsonl").write_text("\n".join(lines))
    table = {
        "sources": {"mine": {"paths": [str(source)]}},
        # that of no hash: else the one document held out may be one of which nothing stays
        "validation_fraction": 1e-12,
        "rules": rules,
        "task_bytes": task_bytes,
        "engine": {"workers": 1},
        "dedup": {"exact": False, "near": False, **dedup},
    }
    manifest = build_corpus(CorpusSettings.model_validate(table), folder / "corpus", lambda line: None)
    kept = {}
    for split in ("train", "validation"):
        for document in read_documents(folder / "corpus", split, "mine"):
            name, _, line = document.id.partition("#")
            kept[int(name[-11:-6]) + int(line) - 1] = document.text
    return manifest, kept


def words(seed, count=12):
    chance = random.Random(seed)
    return " ".join("".join(chance.choices("abcdefghij", k=6)) for _ in range(count))


def cut_in_memory(texts, separator, min_words, min_documents, keep):
    """Return what the texts must become: the oracle, which holds everything in memory."""

    def folded(unit):
        return " ".join(unit.lower().split())

    units = [text.split(separator) for text in texts]
    having = Counter(found for each in units for found in {folded(unit) for unit in each})
    seen: Counter[str] = Counter()
    results = []
    for each in units:
        kept = []
        for unit in each:
            name = folded(unit)
            counts = len(name.split()) >= min_words and having[name] >= max(min_documents, keep + 1)
            if not counts or seen[name] < keep:
                kept.append(unit)
        seen.update({folded(unit) for unit in each})
        results.append(clean(separator.join(kept), "text"))
    return results


UNITS = st.integers(0, 14).map(lambda seed: words(seed, count=2 if seed % 5 == 0 else 12))
TEXTS = st.lists(st.lists(UNITS, min_size=1, max_size=5), min_size=4, max_size=12)


@pytest.mark.parametrize(("name", "separator"), [("paragraphs", "\n\n"), ("lines", "\n")])
@given(TEXTS, st.integers(2, 4), st.integers(0, 2))
@settings(suppress_health_check=list(HealthCheck), max_examples=8, deadline=None)
def test_the_tasks_cut_what_a_count_in_memory_does(tmp_path_factory, name, separator, units, min_documents, keep):
    texts = [separator.join(each) for each in units] + [words(1000), words(1001)]
    limits = {"min_characters": 1, "min_words": 3, "min_documents": min_documents, "keep": keep}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "ROWS_A_RANGE", 10)
        patch.setattr(runs, "MOST_TASKS", 2)
        patch.setattr(results, "ROWS_A_FILE", 4)
        patch.setattr(flags, "FLAGS_A_FILE", 3)
        patch.setattr(merge, "MOST_FILES", 2)
        patch.setattr(merge, "MOST_MERGED", 2)
        patch.setattr(merge, "ROWS_AT_ONCE", 8)
        patch.setattr(runs, "SLICE_ROWS", 2)
        patch.setattr(repeats, "SLICE_ROWS", 2)
        patch.setattr(filter, "SEGMENT_DOCUMENTS", 2)
        manifest, kept = build(tmp_path_factory.mktemp("repeats"), texts, 1000, **{name: limits})
    expected = cut_in_memory(texts, separator, 3, min_documents, keep)
    assert kept == {number: text for number, text in enumerate(expected) if text}
    assert manifest["sources"]["mine"]["read"]["documents"] == len(texts)


def test_what_is_cut_is_counted_and_there_to_be_seen(tmp_path):
    shared = "All rights reserved by the people who wrote this long and winding notice of theirs."
    texts = [f"{words(number, 30)}\n\n{shared}\n\n{words(100 + number, 30)}" for number in range(6)]
    limits = {"min_characters": 20, "min_words": 5}
    manifest, kept = build(tmp_path, texts, paragraphs=limits)
    dropped = manifest["sources"]["mine"]["dropped"]
    assert dropped == {"repeated_paragraph": {"documents": 0, "bytes": 5 * (len(shared) + 2)}}
    assert [shared in kept[number] for number in range(6)] == [True] + [False] * 5
    (line, *_) = read_lines(tmp_path / "corpus" / "dropped" / "mine")
    assert json.loads(line)["text"].strip() == shared


def test_a_document_of_which_too_little_is_left_is_dropped_whole(tmp_path):
    shared = words(1, 40)
    texts = [f"{shared}\n\n{words(2, 40)}", f"{shared}\n\nHi.", shared, words(3, 40)]
    rules = {"text": {**NO_RULES["text"], "min_characters": 20}}
    manifest, kept = build(tmp_path, texts, rules=rules, paragraphs={"min_words": 5})
    assert set(kept) == {0, 3}
    dropped = manifest["sources"]["mine"]["dropped"]
    assert {reason: count["documents"] for reason, count in dropped.items()} == {
        "too_short": 1,
        "repeated_paragraph": 1,
    }


def test_copies_in_documents_that_are_dropped_as_duplicates_do_not_count(tmp_path):
    shared, body = words(1, 20), words(2, 40)
    texts = [f"{shared}\n\n{body}"] * 4 + [words(3, 40), words(4, 40)]
    _, kept = build(tmp_path, texts, exact=True, paragraphs={"min_words": 5, "min_characters": 20})
    assert kept[0] == texts[0]


def test_code_keeps_its_lines(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        body = "".join(f"value_{number}_{line} = compute(first={number}, second={line})\n" for line in range(9))
        (tmp_path / "in" / f"{number}.py").write_text(
            "from headwater.corpus.document import Document, Drop, num_bytes\n" + body
        )
    limits = {"min_words": 1, "min_characters": 1}
    table = {"sources": {"mine": {"paths": [str(tmp_path / "in")]}}, "dedup": {"near": False, "lines": limits}}
    manifest = build_corpus(CorpusSettings.model_validate(table), tmp_path / "corpus", lambda line: None)
    assert manifest["sources"]["mine"]["dropped"] == {}


def page(number, site):
    chance = random.Random(f"{site} {number}")
    names = ["the", "and", "of", "river", "stone", "cloud", "garden", "bridge"]
    body = [" ".join(chance.choices(names, k=14)).capitalize() + "." for _ in range(16)]
    body.insert(9, f"This page of {site} was last changed by a robot that nobody has met.")
    menu = ["Home", "Contents"] if number % 3 else ["Home"]
    return "\n".join([*menu, f"Page {number} of {site}", *body, "Imprint"])


def test_boilerplate_is_cut_as_a_count_in_memory_does(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "ROWS_A_RANGE", 40)
    monkeypatch.setattr(filter, "SEGMENT_DOCUMENTS", 5)
    monkeypatch.setattr(merge, "MOST_FILES", 2)
    monkeypatch.setattr(runs, "SLICE_ROWS", 3)
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
    manifest = build_corpus(CorpusSettings.model_validate(table), tmp_path / "corpus", lambda line: None)
    counts = SiteCounts(BoilerplateSettings())
    for text, site in pages.values():
        counts.add(text, site)
    expected = {path: counts.cut(text, site)[0].strip() for path, (text, site) in pages.items()}
    documents = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "mine")]
    assert {document.origin: document.text for document in documents} == expected
    assert "Contents" not in expected[str(tmp_path / "in" / "a" / "01.txt")]
    assert "robot" in expected[str(tmp_path / "in" / "c" / "01.txt")], "four pages are too few to say"
    assert manifest["sources"]["mine"]["dropped"]["boilerplate_lines"]["documents"] == 0
