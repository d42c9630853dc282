from __future__ import annotations

import json

import pytest

from headwater.corpus.findings import check_evaluation_sets
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings

QUESTION = "Which of the seven rivers of the old kingdom never reaches the sea in summer, and why is it so?"


@pytest.fixture
def files(make_prose):
    texts = {f"{number}.txt": make_prose(400, number) for number in range(12)}
    texts["3.txt"] += f"\n{QUESTION.upper()}\n{make_prose(30, 99)}"
    texts["4.txt"] += "\nWrite to a@b.org, c@d.org or call +44 20 7946 0958.\n"
    texts["5.txt"] = f"{QUESTION} {make_prose(20, 98)}"
    return texts


@pytest.fixture
def quiz(tmp_path):
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps({"q": q}) + "\n" for q in (QUESTION, QUESTION.replace("seven", "nine"), "Why?")))
    return path


def test_the_manifest_says_what_was_found_of_each_set(build, files, quiz):
    manifest = build(files, decontaminate={"sets": {"quiz": [str(quiz)]}})
    (facts,) = manifest["decontamination"].values()
    label = f"{quiz}#{{}}".format
    # the second question shares the 13 words after "seven" with the first
    assert facts["found_items"] == [label(1), label(2)]
    assert {name: facts[name] for name in ("items", "too_short", "found", "documents")} == {
        "items": 3, "too_short": 1, "found": 2, "documents": 2,
    }  # fmt: skip
    dropped = manifest["sources"]["mine"]["dropped"]["contaminated_quiz"]
    assert dropped == {"documents": 1, "bytes": len(files["5.txt"]) + len(QUESTION) + 1}
    assert facts["bytes"] == dropped["bytes"]


def test_items_too_short_to_be_searched_are_reported_before_anything_is_read(quiz):
    table = {"sources": {"mine": {"paths": ["nowhere"]}}, "decontaminate": {"sets": {"quiz": [str(quiz)]}}}
    said = []
    check_evaluation_sets(CorpusSettings.model_validate(table), said.append)
    (line,) = said
    assert line.startswith("evaluation set quiz: 1 of 3 items are not searched") and "min_words=8" in line


def test_the_manifest_says_how_much_was_redacted(build, files, tmp_path):
    manifest = build(files, redact={"kinds": ["email", "phone", "token"]})
    assert manifest["redaction"] == {
        "email": {"replaced": 2, "bytes": 14},
        "phone": {"replaced": 1, "bytes": 16},
        "token": {"replaced": 0, "bytes": 0},
    }
    texts = [d.text for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "mine")]
    (redacted,) = [text for text in texts if "Write to" in text]
    assert "Write to <EMAIL>, <EMAIL> or call <PHONE>." in redacted


def test_without_either_nothing_is_said_of_them(build, files):
    assert not {"decontamination", "redaction"} & set(build(files))
