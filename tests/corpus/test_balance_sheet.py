from __future__ import annotations

import json

import pytest

from headwater.corpus.balance import Balance
from headwater.corpus.findings import check_evaluation_sets
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings

QUESTION = "Which of the seven rivers of the old kingdom never reaches the sea in summer, and why is it so?"


def balanced() -> Balance:
    balance = Balance(["books"])
    balance.read_("books", 2, 300)
    balance.keep_("books", 1, 100)
    balance.drop_("books", "too_short", 1, 200)
    balance.place_("books", "train", 90)
    return balance


def test_a_balanced_sheet_passes_and_has_the_promised_shape():
    balance = balanced()
    balance.check()
    assert balance.as_dict() == {
        "sources": {
            "books": {
                "read": {"documents": 2, "bytes": 300},
                "kept": {"documents": 1, "bytes": 100},
                "dropped": {"too_short": {"documents": 1, "bytes": 200}},
            }
        },
        "splits": {
            "train": {"books": {"documents": 1, "bytes": 90}},
            "validation": {"books": {"documents": 0, "bytes": 0}},
        },
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda balance: balance.read_("books", 1, 0),
        lambda balance: balance.read_("books", 0, 1),
        lambda balance: balance.drop_("books", "empty", 1, 0),
        lambda balance: balance.keep_("books", 0, 5),
        lambda balance: balance.place_("books", "train", 5),
    ],
)
def test_a_document_or_byte_that_is_missing_is_noticed(spoil):
    balance = balanced()
    spoil(balance)
    with pytest.raises(AssertionError, match="books"):
        balance.check()


def test_a_part_of_a_source_that_is_none_of_these_is_an_error():
    parts = Balance(["books", "papers"])
    parts.read_("papers", 1, 10)
    with pytest.raises(KeyError, match="papers"):
        balanced().merge_(parts.as_dict())
    with pytest.raises(KeyError, match="papers"):
        balanced().merge_({"sources": {}, "splits": parts.as_dict()["splits"]})


def test_what_is_written_of_a_balance_stays_as_it_was():
    balance = balanced()
    balance.drop_("books", "empty", 0, 0)
    written = balance.as_dict()
    assert list(written["sources"]["books"]["dropped"]) == ["empty", "too_short"]
    assert list(balance.sources["books"]["dropped"]) == ["too_short", "empty"], "writing changed the balance"
    balance.drop_("books", "too_short", 1, 7)
    balance.place_("books", "train", 5)
    assert written["sources"]["books"]["dropped"]["too_short"] == {"documents": 1, "bytes": 200}
    assert written["splits"]["train"]["books"] == {"documents": 1, "bytes": 90}


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
