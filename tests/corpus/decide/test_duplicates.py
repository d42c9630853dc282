"""What becomes of the copies and versions in drawn corpora, beside a search in memory; whatever the slices are."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from duplicates_in_memory import COMPARED, decisions_in_memory, jaccard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.corpus.build import build_corpus
from headwater.corpus.decide import decisions
from headwater.corpus.scripts import words_of
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.split import SplitTally, split_hash
from headwater.corpus.tasks import verify

NO_RULES = dict.fromkeys(
    # what language made-up words are taken for is chance
    ["min_alpha_fraction", "max_top_ngram_fractions", "min_mean_word_length", "max_mean_word_length"]
)


def vocabulary_text(num_words, seed, size=5000):
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, size, num_words))


def changed(text, num_changes, seed):
    words = text.split()
    for at in random.Random(seed).sample(range(len(words)), min(num_changes, len(words))):
        words[at] = f"changed{seed}"
    return " ".join(words)


def decided(folder, texts, texts_a_file=5, **table):
    """Build a corpus of `texts`; return what became of each, and require that what it is a copy of stays."""
    source, corpus = folder / "in", folder / "corpus"
    source.mkdir(exist_ok=True)
    for old in source.iterdir():
        old.unlink()
    for start in range(0, len(texts), texts_a_file):
        lines = [json.dumps({"text": text}) for text in texts[start : start + texts_a_file]]
        (source / f"{start:05d}.jsonl").write_text("\n".join(lines))
    rules = {"text": {**NO_RULES, "min_characters": 0}}
    table = {"sources": {"mine": {"paths": [str(source)]}}, "rules": rules, "engine": {"workers": 1}, **table}
    found = CorpusSettings.model_validate(table)
    build_corpus(found, corpus, lambda line: None)
    files = sorted((corpus / "decisions" / "mine").iterdir())
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    names = [
        f"{source}/{at // texts_a_file * texts_a_file:05d}.jsonl#{at % texts_a_file + 1}" for at in range(len(texts))
    ]
    # a file of one document gives it its own name
    assert [row["id"].removesuffix("#1") for row in rows] == [name.removesuffix("#1") for name in names]
    ids, reasons = [row["id"] for row in rows], [row["reason"] or "kept" for row in rows]
    for at, row in enumerate(rows):
        first = ids.index(row["duplicate_of"].removeprefix("mine ")) if row["duplicate_of"] else None
        assert (first is not None) == (reasons[at] != "kept") == (row["side"] is None)
        if reasons[at] == "exact_duplicate":
            assert words_of(texts[first]) == words_of(texts[at]) and reasons[first] != "exact_duplicate" and first < at
        elif reasons[at] == "near_duplicate":
            assert reasons[first] == "kept" and first < at
            assert jaccard(texts[first], texts[at], found.dedup.shingle_words) >= found.dedup.min_similarity
    require_split(found, [(texts[at], row["side"]) for at, row in enumerate(rows) if row["side"]])
    return reasons


def require_split(table, kept):
    tally, hashes = SplitTally(table.validation_fraction), [split_hash(text, table.seed) for text, _ in kept]
    sizes = [len(text) for text, _ in kept]
    tally.add_(np.arange(len(kept)), np.array(hashes, np.uint64), np.array(sizes, np.uint64))
    split = tally.split()
    expected = ["validation" if split.is_held_out(each) else "train" for each in hashes]
    if split.tail_of is not None:
        expected[split.tail_of] = "both"
    assert [side for _, side in kept] == expected


def family(seed, num_versions, num_words):
    """Return a text, copies of it, and versions of versions of it."""
    chance = random.Random(seed)
    texts = [vocabulary_text(num_words, seed)]
    for number in range(num_versions):
        of = texts[-1] if chance.random() < 0.3 else chance.choice(texts)
        texts.append(changed(of, chance.choice([0, 1, 1, 2, 4, 9]), seed * 100 + number))
    return texts


DEDUP = st.fixed_dictionaries(
    {
        "min_similarity": st.sampled_from([0.5, 0.7, 0.8]),
        "num_bands": st.sampled_from([1, 8, 14]),
        "rows_per_band": st.integers(1, 4),
        "shingle_words": st.integers(1, 5),
        "exact": st.booleans(),
        "near": st.sampled_from([True, True, True, False]),
    }
)
FAMILIES = st.lists(
    st.tuples(st.integers(0, 2**30), st.integers(0, 30), st.integers(1, 90)), min_size=1, max_size=5, unique=True
)


@given(
    FAMILIES, DEDUP, st.randoms(use_true_random=False), st.integers(1, 9), st.integers(1000, 30_000), st.integers(1, 99)
)
@settings(suppress_health_check=list(HealthCheck), max_examples=6, deadline=None)
def test_a_corpus_is_decided_as_a_search_in_memory_does(
    tmp_path_factory, families, dedup, chance, texts_a_file, task_bytes, documents_at_once
):
    texts = [text for each in families for text in family(*each)]
    chance.shuffle(texts)
    texts += [vocabulary_text(60, 1000), vocabulary_text(60, 1001)]
    folder = tmp_path_factory.mktemp("duplicates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "_DOCUMENTS_AT_ONCE", documents_at_once)
        found = decided(folder, texts, texts_a_file, dedup=dedup, task_bytes=task_bytes)
    settings = CorpusSettings.model_validate({"sources": {"mine": {"builtin": "almanac"}}, "dedup": dedup}).dedup
    assert found == decisions_in_memory(texts, settings)


@pytest.mark.parametrize("task_bytes", [1000, 1_000_000])
def test_a_chain_of_versions_keeps_each_that_differs_from_those_kept(tmp_path, task_bytes):
    texts = [vocabulary_text(200, 1)]
    for number in range(60):  # each version changes two words more
        texts.append(changed(texts[-1], 2, 1000 + number))
    texts.append(vocabulary_text(200, 2))
    found = decided(tmp_path, texts, task_bytes=task_bytes)
    assert 5 < found.count("kept") < 40
    settings = CorpusSettings.model_validate({"sources": {"mine": {"builtin": "almanac"}}}).dedup
    assert found == decisions_in_memory(texts, settings)


@pytest.fixture
def compared(monkeypatch):
    """Return the similarities of the texts that are compared, as they are found."""
    found, similarity = [], verify.similarity
    monkeypatch.setattr(verify, "similarity", lambda *sets: found.append(similarity(*sets)) or found[-1])
    return found


def test_pages_that_share_most_words_are_compared_with_few_and_a_true_duplicate_is_found(tmp_path, compared):
    common = vocabulary_text(410, 10_000)  # four fifths of every page
    pages = [f"{common} {vocabulary_text(100, number)}" for number in range(150)]
    copies = [changed(pages[number], 2, number) for number in range(100, 150)]
    assert decided(tmp_path, pages + copies) == ["kept"] * 150 + ["near_duplicate"] * 50
    assert 300 < len(compared) <= COMPARED * 200


def test_of_hundreds_of_versions_of_one_text_few_are_compared(tmp_path, compared):
    text = vocabulary_text(60, 1)
    texts = [changed(text, 1, number) for number in range(150)] + [vocabulary_text(60, 2)]
    dedup = {"min_similarity": 0.6, "num_bands": 40, "rows_per_band": 2}
    assert decided(tmp_path, texts, 50, dedup=dedup).count("near_duplicate") > 140
    assert 0 < len(compared) < 3 * len(texts)


@pytest.mark.parametrize(
    ("texts", "dedup", "expected"),
    [
        (
            "One river flows on.|one  RIVER flows\ton.|One river flows on|one river flows on",
            {},
            "kept exact kept exact",
        ),
        ("one two|one three|one two|two one|one  two", {"exact": False}, "kept kept near kept near"),
        ("|".join(vocabulary_text(30, seed % 7) for seed in range(70)), {}, " ".join(["kept"] * 7 + ["exact"] * 63)),
    ],
    ids=["case and white space", "texts shorter than a shingle", "many copies"],
)
@pytest.mark.parametrize("task_bytes", [1000, 10**6])
def test_copies_by_hand(tmp_path, texts, dedup, expected, task_bytes):
    found = decided(tmp_path, texts.split("|"), dedup=dedup, task_bytes=task_bytes)
    assert [reason.removesuffix("_duplicate") for reason in found] == expected.split()
