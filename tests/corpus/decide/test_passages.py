"""Passages that documents share word for word: cut but for the first, beside a search through every word in memory."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headwater.corpus.balance import sum_of
from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings

RULES = dict.fromkeys(["min_alpha_fraction", "max_top_ngram_fractions", "min_mean_word_length", "max_mean_word_length"])
RULES |= {"max_repeated_10gram_fraction": None, "min_characters": 0, "max_repeated_line_fraction": None}


def built(folder, texts, least, kind="text", slices=3, **more):
    """Build a corpus of texts in a few slices; return its manifest and the texts that it keeps, in their order."""
    shutil.rmtree(folder / "in", ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    size = -(-len(texts) // slices)
    for part in range(slices):
        lines = [json.dumps({"text": text}) for text in texts[part * size : (part + 1) * size]]
        (folder / "in" / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    table = {"sources": {"s": {"paths": [str(folder / "in")], "kind": kind}}, "task_bytes": 1000, "boilerplate": None}
    table |= {
        "dedup": {"exact": False, "near": False, "passage_words": least},
        "engine": {"workers": 1},
        "rules": {kind: RULES},
    } | more
    manifest = build_corpus(CorpusSettings.model_validate(table), folder / "corpus", lambda line: None)
    found = {}
    for split in ("train", "validation"):
        for each in read_documents(folder / "corpus", split, "s"):
            name = each.id.removesuffix("/start").removesuffix("/end")  # of one that is divided
            found.setdefault(name, []).append(each.text)
    return manifest, [
        " ".join(found[name]) for name in sorted(found, key=lambda name: (name.split("#")[0], len(name), name))
    ]


def without_passages(texts, least):
    """Return the words of texts without those in runs of `least` words that came before, in any text or its own."""
    seen, left = set(), []
    for text in texts:
        words = text.split()
        gone = set()
        for at in range(len(words) - least + 1):
            run = tuple(words[at : at + least])
            gone |= set(range(at, at + least)) if run in seen else set()
            seen.add(run)
        left.append([word for at, word in enumerate(words) if at not in gone])
    return left


def drawn_texts(seed, least):
    """Return texts of words that are used once, into which passages are put, whole or in part."""
    draw = random.Random(seed)
    unique = (f"w{number}" for number in range(10**9))
    passages = [[next(unique) for _ in range(draw.randint(least, 4 * least))] for _ in range(4)]
    texts = []
    for _ in range(12):
        words = []
        for _ in range(draw.randint(1, 5)):
            words += [next(unique) for _ in range(draw.randint(3, 60))]
            passage = draw.choice(passages)
            length = draw.choice([least - 1, least, least + 1, len(passage)])
            start = draw.randint(0, max(len(passage) - length, 0))
            words += passage[start : start + length]
        texts.append("".join(word + draw.choice([" ", " ", " ", "\n", "\n\n"]) for word in words).strip())
    return texts


@given(st.integers(0, 2**30), st.lists(st.tuples(st.integers(8, 30), st.integers(1, 4)), min_size=2, max_size=2))
@settings(suppress_health_check=list(HealthCheck), max_examples=2, deadline=None, phases=[Phase.generate])
def test_every_passage_but_the_first_is_cut_to_its_last_word(tmp_path_factory, seed, chosen):
    folder, texts = tmp_path_factory.mktemp("drawn"), []
    for least, slices in chosen:  # beside what a build with another number, of fewer texts, left there
        texts = drawn_texts(seed + least, least) + texts
        manifest, found = built(folder, texts, least, slices=slices)
        assert [text.split() for text in found] == [words for words in without_passages(texts, least) if words]
        sheet = manifest["sources"]["s"]
        assert sheet["dropped"].keys() <= {"copied_passages"}
        assert sum_of([sheet["kept"], *sheet["dropped"].values()]) == sheet["read"]


def test_nothing_is_cut_where_it_is_not_asked_for_or_from_code(tmp_path):
    texts = drawn_texts(1, 20)
    manifest, found = built(tmp_path / "off", texts, None)
    assert [text.split() for text in found] == [text.split() for text in texts]
    assert not manifest["sources"]["s"]["dropped"]
    code = [f"def name{number}():\n" + " ".join(drawn_texts(1, 20)[0].split()[:80]) for number in range(6)]
    rules = {"code": {"min_alpha_fraction": None, "min_characters": 0, "max_mean_line_characters": None}}
    manifest, _ = built(tmp_path / "code", code, 20, "code", rules=rules)
    assert not manifest["sources"]["s"]["dropped"]


def test_what_is_left_is_held_to_the_rules_again_and_lines_of_a_site_are_cut_as_well(tmp_path, make_prose):
    notice, passage = (" ".join(make_prose(words, words).split()) for words in (60, 90))
    own = [make_prose(200, 10 + number) for number in range(12)]
    texts = [f"{text}\n{passage if number % 4 == 1 else ''}\n{notice}" for number, text in enumerate(own)]
    texts.append(f"{passage}\n{make_prose(9, 99)}")  # with too little left
    web = {"web": {"min_sentence_fraction": None, "max_short_line_fraction": None, "min_stop_words": None}}
    manifest, found = built(tmp_path, texts, 50, "web", boilerplate={"min_pages": 5}, rules=web)
    dropped = manifest["sources"]["s"]["dropped"]
    assert dropped["copied_passages"]["documents"] == 0 and dropped["too_short"]["documents"] == 1
    text = "\n".join(found)
    assert text.count(passage) == 1 and notice not in text
    assert all(each.split("\n")[0] in text for each in own)


@pytest.mark.parametrize("least", [10, 24])
def test_passages_of_a_script_without_spaces_are_counted_in_characters(tmp_path, least):
    draw = random.Random(least)
    characters = [chr(0x4E00 + number) for number in draw.sample(range(5000), 600)]
    shared = "".join(characters[:least])
    texts = [
        "".join(characters[100 * at : 100 * at + 90]) + shared + "".join(characters[-at * 20 :][:20])
        for at in (1, 2, 3)
    ]
    _, found = built(tmp_path, texts, least)
    assert "".join(found).count(shared) == 1
