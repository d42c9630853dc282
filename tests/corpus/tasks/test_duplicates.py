from __future__ import annotations

import json
import random

import numpy as np
import pytest
from duplicates_in_memory import decisions_in_memory, jaccard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_pieces import cut_into_pieces

from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.scripts import words_of
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks import verify


def vocabulary_text(num_words, seed, size=5000):
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, size, num_words))


def changed(text, num_changes, seed):
    words = text.split()
    for at in random.Random(seed).sample(range(len(words)), min(num_changes, len(words))):
        words[at] = f"changed{seed}"
    return " ".join(words)


NO_RULES = {"min_characters": 0, "min_alpha_fraction": None, "max_top_ngram_fractions": None}
# what language made-up words are taken for is chance
NO_RULES |= {"min_mean_word_length": None, "max_mean_word_length": None}


def decisions_by_tasks(folder, texts, **table):
    """Build a corpus of `texts`, in files of five, and return what became of each."""
    source = folder / "in"
    source.mkdir(exist_ok=True)
    for old in source.iterdir():
        old.unlink()
    for start in range(0, len(texts), 5):
        lines = [json.dumps({"text": text}) for text in texts[start : start + 5]]
        (source / f"{start:05d}.jsonl").write_text("\n".join(lines))
    table = {
        "sources": {"mine": {"paths": [str(source)]}},
        "rules": {"text": NO_RULES},
        "engine": {"workers": 1},
        **table,
    }
    corpus = folder / "corpus"
    build_corpus(CorpusSettings.model_validate(table), corpus, lambda line: None)
    decisions, originals = {}, {}
    for line in read_lines(corpus / "dropped" / "mine"):
        value = json.loads(line)
        decisions[value["id"]] = value["metadata"]["reason"]
        originals[value["id"]] = value["metadata"]["duplicate_of"].removeprefix("mine ")
    for split in ("train", "validation"):
        decisions |= {document.id: "kept" for document in read_documents(corpus, split, "mine")}
    ids = [f"{source}/{at // 5 * 5:05d}.jsonl#{at % 5 + 1}" for at in range(len(texts))]
    assert set(decisions) == set(ids)
    text_of, min_similarity = dict(zip(ids, texts)), table.get("dedup", {}).get("min_similarity", 0.8)
    for copy, original in originals.items():
        assert ids.index(original) < ids.index(copy)
        if decisions[copy] == "exact_duplicate":
            assert words_of(text_of[original]) == words_of(text_of[copy])
            assert decisions[original] != "exact_duplicate", "not the first of them"
        else:
            assert decisions[original] == "kept" and jaccard(text_of[original], text_of[copy]) >= min_similarity
    return [decisions[each] for each in ids]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def compared(monkeypatch):
    """Return the later document of every comparison of two texts, as they are made."""
    found, is_similar = [], verify._Comparison._is_similar

    def counted(self, later, earlier):
        found.append(later)
        return is_similar(self, later, earlier)

    monkeypatch.setattr(verify._Comparison, "_is_similar", counted)
    return found


def family(seed, num_words=60):
    """Return a text, copies of it, versions of versions of it, and a stranger."""
    chance = random.Random(seed)
    first = vocabulary_text(num_words, seed)
    texts = [first]
    for number in range(chance.randrange(6)):
        texts.append(changed(chance.choice(texts), chance.choice([0, 1, 1, 2, 4]), seed * 100 + number))
    return texts


@given(st.lists(st.integers(0, 30), min_size=2, max_size=12, unique=True), st.randoms(use_true_random=False))
@settings(suppress_health_check=list(HealthCheck), max_examples=6, deadline=None)
def test_the_tasks_decide_as_a_search_in_memory_does(tmp_path_factory, seeds, chance):
    texts = [text for seed in seeds for text in family(seed)]
    chance.shuffle(texts)
    texts += [vocabulary_text(60, 1000), vocabulary_text(60, 1001)]
    dedup = {"min_similarity": 0.7, "num_bands": 8, "rows_per_band": 2}
    settings = CorpusSettings.model_validate({"sources": {"mine": {"builtin": "almanac"}}, "dedup": dedup}).dedup
    with pytest.MonkeyPatch.context() as patch:
        # so few rows fit into memory that everything is cut into ranges, batches, files and segments
        cut_into_pieces(
            patch, ROWS_A_RANGE=16, MOST_TASKS=3, _BATCH_ROWS=5, ROWS_A_FILE=7, FLAGS_A_FILE=5, MOST_FILES=3,
            MOST_MERGED=3, ROWS_AT_ONCE=9, SEGMENT_DOCUMENTS=3,
        )  # fmt: skip
        patch.setattr(verify, "_CACHED_CHARACTERS", 300_000)
        folder = tmp_path_factory.mktemp("duplicates")
        decisions = decisions_by_tasks(folder, texts, dedup=dedup, task_bytes=3000)
    assert decisions == decisions_in_memory(texts, settings)


@pytest.mark.parametrize("task_bytes", [1000, 5000, 1_000_000])
def test_a_chain_of_versions_keeps_each_that_differs_from_those_kept(folder, task_bytes):
    texts = [vocabulary_text(200, 1)]
    for number in range(60):  # each version changes two words more
        texts.append(changed(texts[-1], 2, 1000 + number))
    texts.append(vocabulary_text(200, 2))
    found = decisions_by_tasks(folder, texts, task_bytes=task_bytes)
    assert 5 < found.count("kept") < 40
    settings = CorpusSettings.model_validate({"sources": {"mine": {"builtin": "almanac"}}}).dedup
    assert found == decisions_in_memory(texts, settings)


def test_pages_that_share_most_words_are_compared_with_few_and_a_true_duplicate_is_found(folder, compared):
    common = vocabulary_text(340, 10_000)  # two thirds of every page
    pages = [f"{common} {vocabulary_text(160, number)}" for number in range(250)]
    copies = [changed(pages[number], 2, number) for number in range(200, 250)]
    found = decisions_by_tasks(folder, pages + copies)
    assert found == ["kept"] * 250 + ["near_duplicate"] * 50
    assert max(map(compared.count, set(compared))) <= verify.MAX_COMPARED
    assert len(compared) > 250 * 4, "the pages are no candidates: the test tests nothing"


def test_a_thousand_copies_of_one_text_make_few_comparisons(folder, compared):
    text = vocabulary_text(60, 1)
    texts = [changed(text, 1, number) for number in range(400)] + [vocabulary_text(60, 2)]
    found = decisions_by_tasks(folder, texts, dedup={"min_similarity": 0.6, "num_bands": 40, "rows_per_band": 2})
    assert found.count("near_duplicate") > 390
    assert len(compared) < 3 * len(texts)


def test_exact_duplicates_ignore_case_and_white_space(folder):
    texts = ["One river flows on.", "one  RIVER flows\ton.", "One river flows on", "one river flows on"]
    assert decisions_by_tasks(folder, texts) == ["kept", "exact_duplicate", "kept", "exact_duplicate"]


def test_texts_shorter_than_a_shingle_are_compared_whole(folder):
    texts = ["one two", "one three", "one two", "two one", "one  two"]
    found = decisions_by_tasks(folder, texts, dedup={"exact": False})
    assert found == ["kept", "kept", "near_duplicate", "kept", "near_duplicate"]


def test_of_many_exact_copies_the_first_stays_wherever_they_lie(folder, monkeypatch):
    cut_into_pieces(monkeypatch, ROWS_A_RANGE=8, SEGMENT_DOCUMENTS=4)
    texts = [vocabulary_text(30, seed % 7) for seed in range(70)]
    found = decisions_by_tasks(folder, texts, task_bytes=2000)
    assert found == ["kept"] * 7 + ["exact_duplicate"] * 63
