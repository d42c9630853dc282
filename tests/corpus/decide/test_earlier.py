"""A new dump against earlier corpora: what one of them keeps isn't kept again, as far as the texts say."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest
from duplicates_in_memory import jaccard

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.scripts import words_of
from headwater.corpus.sources.settings import CorpusSettings

RULES = dict.fromkeys(["min_alpha_fraction", "max_top_ngram_fractions", "min_mean_word_length", "max_mean_word_length"])
RULES |= {"min_stop_words": None, "min_sentences": None, "min_sentence_fraction": None, "min_sentence_characters": None}


def words(chance, count):
    return [f"w{chance.randrange(5000)}" for _ in range(count)]


def version(chance, text, num_changes):
    found = text.split(" ")
    for at in chance.sample(range(len(found)), num_changes):
        found[at] = f"changed{chance.randrange(10**6)}"
    return " ".join(found)


def settings_for(folder, texts, kind="text", **dedup):
    folder.mkdir(exist_ok=True)
    for part in range(2):  # two slices
        lines = [json.dumps({"text": text}) for text in texts[part::2]]
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    rules = {"text": {**RULES, "min_characters": 0}, "web": {**RULES, "min_characters": 0}}
    rules["web"] |= {"max_short_line_fraction": None, "max_lines_per_word": None, "max_repeated_10gram_fraction": None}
    table = {"sources": {"s": {"paths": [str(folder)], "kind": kind}}, "rules": rules, "task_bytes": 1000}
    return CorpusSettings.model_validate({**table, "dedup": dedup, "engine": {"workers": 1}})


def built(folder, texts, kind="text", **dedup):
    """Build a corpus; return what became of its texts, in their order: the text, the reason, of what it is a copy."""
    corpus = folder / "data" / "corpus"
    corpus.parent.mkdir(parents=True, exist_ok=True)
    build_corpus(settings_for(folder / "in", texts, kind, **dedup), corpus, lambda line: None)
    files = sorted((corpus / "decisions" / "s").iterdir())
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(rows) == len(texts)
    return [(text, row) for text, row in zip(texts[0::2] + texts[1::2], rows)]


def test_what_an_earlier_corpus_keeps_is_not_kept_again_and_what_it_dropped_is(tmp_path):
    chance = random.Random(0)
    new, old = ([" ".join(words(chance, 200)) for _ in range(20)] for _ in range(2))
    first, second = [*old[:12], version(chance, old[0], 1)], [*old[12:], "short one"]
    built(tmp_path / "a1", new[:3])  # which a pattern `a[1]` names
    before = [row for name, texts in (("a[1]", first), ("b", second)) for row in built(tmp_path / name, texts)]
    kept = [text for text, row in before if row["reason"] is None]
    assert len(kept) < len(before)
    again = [version(chance, chance.choice(old), chance.choice([0, 0, 1, 2, 60])) for _ in range(30)]
    texts = new + again + [new[0].upper(), version(chance, new[1], 1)]
    chance.shuffle(texts)
    found = built(tmp_path / "c", texts, earlier=[str(tmp_path / "a[1]"), str(tmp_path / "b" / "data" / "corpus")])
    reasons = {row["reason"] for _, row in found}
    assert reasons == {None, "earlier_duplicate", "exact_duplicate", "near_duplicate"}
    for text, row in found:
        same = [each for each in kept if words_of(each) == words_of(text)]
        similar = [each for each in kept if jaccard(each, text) >= 0.9]
        assert (row["reason"] == "earlier_duplicate") == bool(similar), row
        if similar:
            assert row["because"] == ("the same words" if same else "nearly the same, as its signature says")
            of = "a[1]" if any(each in first for each in same or similar) else "b/data/corpus"
            assert row["duplicate_of"].startswith(f"{tmp_path}/{of} s ") and row["side"] is None
    assert reasons - {row["reason"] for _, row in built(tmp_path / "c", texts)} == {"earlier_duplicate"}


def test_pages_of_a_site_are_compared_with_earlier_ones_without_the_lines_that_they_share(tmp_path):
    chance = random.Random(1)
    notice = " ".join(words(chance, 400))
    pages = [f"{' '.join(words(chance, 90))}\n{notice}" for _ in range(36)]
    built(tmp_path / "a", pages[:18], "web")
    found = built(tmp_path / "b", pages[9:], "web", earlier=[str(tmp_path / "a")])
    assert {text for text, row in found if row["reason"] == "earlier_duplicate"} == set(pages[9:18])


def test_an_earlier_corpus_is_an_input_and_one_that_cant_be_compared_is_refused(tmp_path):
    texts = [" ".join(words(random.Random(7), 200)) for _ in range(3)]
    built(tmp_path / "a", texts)
    earlier = [str(tmp_path / "a")]
    new = settings_for(tmp_path / "in", texts, earlier=earlier)
    key = corpus_key(new, corpus_inputs(new))
    built(tmp_path / "a", [*texts, "another text"])
    assert corpus_key(new, corpus_inputs(new)) != key
    built(tmp_path / "d", texts, near=False)
    for dedup, error, said in (
        ({"earlier": [str(tmp_path / "d")]}, ConfigError, "without keys for near duplicates"),
        ({"earlier": [str(tmp_path / "b")]}, DataError, "b is not built yet"),
        ({"earlier": earlier, "num_bands": 9}, ConfigError, r"another num_bands \(14, here 9\)"),
    ):
        with pytest.raises(error, match=said):
            built(tmp_path / "c", texts, **dedup)
    with pytest.raises(ConfigError, match="is the corpus that is built"):
        built(tmp_path / "a", texts, earlier=earlier)
    more = [*texts, *(" ".join(words(random.Random(n), 200)) for n in range(3))]
    found = built(tmp_path / "c", more, earlier=earlier)
    assert [row["reason"] for _, row in found].count("earlier_duplicate") == 3
    with pytest.raises(DataError, match="too small"):
        built(tmp_path / "a", ["too short"], near=False)  # what is there of this isn't what `a` was made of
    with pytest.raises(DataError, match=r"remove .*, and `headwater corpus build RUN` makes both again"):
        built(tmp_path / "c", more, earlier=earlier)
