"""Items of evaluation sets found in texts: planted in disguises, a table of questions (questions.jsonl), and reading sets.

questions.jsonl has records of sets by name, then texts: the sets that are searched for, and the item, counted from 1,
that the text leaks; without `item` the text is innocent. Each of records.jsonl asks "What?" with "one" and "two" beside.
"""

from __future__ import annotations

import json
import random
import textwrap
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_rows import rows
from pydantic import ValidationError

from headwater.core.errors import DataError
from headwater.corpus.document import Document
from headwater.corpus.findings import Notes
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.corpus.protect.evaluation_sets import Text, read_set
from headwater.corpus.protect.overlap import bare_words
from headwater.corpus.sources.settings import CorpusSettings, DecontaminateSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

NUM_ITEMS = 60
FIRST, SECOND = "ba ce di fo gu la me ni", "tan vel rik mos pud"
WORDS = [f"{first}{second}" for first in FIRST.split() for second in SECOND.split()]


def lines_of(name: str) -> list[dict]:
    return [json.loads(line) for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()]


RECORDS = {line["name"]: line["record"] for line in lines_of("questions.jsonl") if "record" in line}
CASES = [line for line in lines_of("questions.jsonl") if "text" in line]


def candidate(text, id="d"):
    return Candidate(Document(text, "mine", id, id, "text"), WordHasher())


def question(number):
    words = random.Random(f"question {number}").sample(WORDS, 24)
    return f"{' '.join(words[:12]).capitalize()}, {' '.join(words[12:])}?"


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def make(tmp_path):
    """Return a function that makes the step from records of one set."""

    def step_of(records=None, **settings):
        questions = [{"id": n, "question": question(n), "answer": "yes"} for n in range(NUM_ITEMS)]
        write_jsonl(tmp_path / "set.jsonl", questions if records is None else records)
        table = {"sets": {"quiz": [str(tmp_path / "set.jsonl")]}, **settings}
        return Decontaminator(DecontaminateSettings.model_validate(table))

    return step_of


DISGUISES = {
    "as it is": lambda text: text,
    "in capitals": str.upper,
    "without punctuation": lambda text: text.replace(",", "").replace("?", ""),
    "with other punctuation": lambda text: "“" + text.replace(" ", " — ", 3).replace("?", " …”"),
    "wrapped": lambda text: "\n".join(textwrap.wrap(text, 30)),
    "its middle alone": lambda text: " ".join(text.split()[5:18]),
    "with wide spaces": lambda text: text.replace(" ", "\u00a0\t"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_every_planted_item_is_found(make, make_prose, disguise):
    step, notes = make(), Notes()
    for number in range(NUM_ITEMS):
        planted = DISGUISES[disguise](question(number))
        verdict = step(candidate(f"{make_prose(400, number)}\n{planted}\n{make_prose(80, number + 500)}", f"{number}"))
        assert verdict.reason is None, (number, verdict)
        (cut,) = verdict.cuts
        notes.add_(cut.reason, cut.note)
        assert not _shares(bare_words(verdict.candidate.document.text), bare_words(question(number)), 13)
    (quiz,) = step.searched
    report = quiz.report(notes.of("contaminated_"))
    assert (report["items"], report["found"], report["documents"]) == (NUM_ITEMS, NUM_ITEMS, NUM_ITEMS)


def _shares(words, item, n):
    runs = {tuple(item[at : at + n]) for at in range(len(item) - n + 1)}
    return any(tuple(words[at : at + n]) in runs for at in range(len(words) - n + 1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:40])
def test_a_question_is_found_with_its_options_or_answer_and_other_texts_are_innocent(make, case):
    verdict = make([RECORDS[name] for name in case["set"]])(candidate(case["text"]))
    leaks = "item" in case
    assert verdict.reason == ("contaminated_quiz" if leaks else None)
    assert verdict.because == (f"item set.jsonl#{case['item']}" if leaks else "") and verdict.cuts == ()


def test_text_that_shares_words_but_no_run_of_them_is_left_alone(make):
    step = make()
    for seed in range(40):
        words = random.Random(seed).choices(WORDS, k=1000)
        text = " ".join(words) + f" {' '.join(question(seed % NUM_ITEMS).split()[:12])} and on."
        verdict = step(candidate(text))
        assert (verdict.reason, verdict.cuts) == (None, ())
        assert verdict.candidate.document.text is text


def test_what_a_cut_brings_together_is_searched_again(make, make_prose):
    words = question(0).split()
    text = f"{make_prose(400)}\n{' '.join(words[:9])}\n{question(1)}\n{' '.join(words[9:])}\n{make_prose(50, 4)}"
    verdict = make()(candidate(text))
    assert "quiz:0" in " ".join(cut.note for cut in verdict.cuts)
    assert not _shares(bare_words(verdict.candidate.document.text), bare_words(question(0)), 13)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (lambda prose: question(5), {}),
        (lambda prose: "\n".join(f"{question(n)}\n{prose(60, n)}" for n in range(11)), {}),
        (lambda prose: f"{' '.join(question(n) for n in range(10))} {prose(60)}", {"max_passages": 50}),
    ],
    ids=["a short text", "many passages", "a large part"],
)
def test_a_document_goes_whole(make, make_prose, text, settings):
    verdict = make(**settings)(candidate(text(make_prose)))
    assert verdict.reason == "contaminated_quiz"
    assert "quiz:5" in verdict.note.split()


@pytest.mark.parametrize(("num_words", "is_found"), [(7, False), (8, True), (12, True), (13, True)])
def test_a_short_item_must_stand_there_whole(make, make_prose, num_words, is_found):
    item = " ".join(WORDS[:num_words])
    step = make([{"text": item}, {"text": question(0)}])
    assert bool(step(candidate(f"{make_prose(400)}\n{item.upper()}!")).cuts) is is_found
    assert not step(candidate(f"{make_prose(400)}\n{' '.join(WORDS[1:num_words])}.")).cuts
    assert step.searched[0].too_short == (0 if is_found else 1)


@pytest.mark.parametrize(
    "item", [{"text": " ".join(WORDS[:6])}, {"text": "one"}, {"question": "中国的首都在哪?", "answer": "北京"}]
)
def test_a_set_without_an_item_to_find_is_an_error_that_says_how_long_they_must_be(make, item):
    with pytest.raises(DataError, match=r"sets\.quiz: none of its 1 .*min_words=8, .*min_characters=16"):
        make([item])


def test_a_dropped_document_says_which_item_and_shows_the_words_it_shares(make, make_prose):
    verdict = make()(candidate(f"{make_prose(40)}\n{question(5)}\n{make_prose(40, 3)}"))
    assert (verdict.because, verdict.excerpt) == ("item set.jsonl#6", question(5))
    kept = make()(candidate(f"{make_prose(400)}\n{question(5)}\n{make_prose(40, 3)}\n{question(7)}"))
    assert [cut.because for cut in kept.cuts] == ["items set.jsonl#6, set.jsonl#8"]
    many = make(max_passages=50)(candidate(" ".join(question(number) for number in range(6))))
    assert many.because == "items set.jsonl#1, set.jsonl#2, set.jsonl#3 and 3 others"


def test_the_set_named_first_gives_the_reason_and_all_are_in_the_report(tmp_path, make_prose):
    for name in ("one", "two"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": question(0)}])
    settings = DecontaminateSettings(sets={name: [str(tmp_path / f"{name}.jsonl")] for name in ("two", "one")})
    step = Decontaminator(settings)
    (cut,) = step(candidate(f"{make_prose(400)}\n{question(0)}")).cuts
    assert (cut.reason, cut.note) == ("contaminated_two", "two one two:0 one:0")
    report = {each.name: each.report(Counter(cut.note.split())) for each in step.searched}
    assert [(report[name]["found"], report[name]["documents"]) for name in ("one", "two")] == [(1, 1), (1, 1)]


def test_of_a_question_of_a_thousand_items_a_place_names_the_64_with_most_of_their_answers(make):
    asked = "Which of the following statements is true?"
    records = [{"question": asked, "choices": ["None of the others is", f"Number {n} is prime"]} for n in range(1000)]
    verdict = make(records)(candidate(f"{asked} None of the others is. Number 900 is prime."))
    assert verdict.note.split() == ["quiz", *(f"quiz:{number}" for number in (*range(63), 900))]


def test_characters_may_be_written_as_escapes_and_the_text_is_cut_where_they_stand(make, make_prose):
    asked = "水蒸气变成液态水的过程在物理学中叫做什么？"
    record = {"question": asked, "answer": "凝结"}
    prose = make_prose(400).strip()
    for escaped in (json.dumps(record), "".join(f"&#{ord(each)};" for each in f"{asked}凝结")):
        verdict = make([record])(candidate(f"{prose}\n{escaped}\n{prose}"))
        assert verdict.candidate.document.text == f"{prose}\n{prose}"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a set of one file: records of JSON lines, or what it holds."""

    def items_of(name, content):
        path = tmp_path / name
        if isinstance(content, list):
            write_jsonl(path, content)
        elif isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif content is not None:
            path.write_text(content)
        return read_set("quiz", DecontaminateSettings(sets={"quiz": [str(path)]}))

    return items_of


@pytest.mark.parametrize("record", lines_of("records.jsonl"), ids=lambda record: " ".join(record))
def test_a_question_goes_with_its_options_which_never_stand_alone(read, record):
    (item,) = read("s.jsonl", [record, {"n": 1}])
    assert item.label.rpartition("/")[2] == "s.jsonl#1"
    ((question, answers),) = item.texts
    assert (question.strip(), sorted(answers)) == ("What?", ["one", "two"])


LONG = "word " * 30
TASK = {"name": "t", "keywords": ["k"], "examples": [{"input": "one"}, {"input": "two"}]}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        # a passage and a long answer are texts by themselves, too
        (
            "s.jsonl",
            [{"passage": LONG, "question": "What?", "answers": [LONG.upper(), "it"]}],
            [(Text(LONG), Text(LONG.upper()), Text("What?", (LONG, LONG.upper(), "it")))],
        ),
        # however long options are, they never count alone, nor does the answer that is one of them
        (
            "s.jsonl",
            [{"question": "What?", "choices": [LONG, LONG.upper()], "answer": LONG}],
            [(Text("What?", (LONG, LONG.upper())),)],
        ),
        # a gap divides a question, and its longer part is looked for
        (
            "s.jsonl",
            [{"sentence": "The soup filled the _ to the brim.", "option1": "bowl", "option2": "pot", "answer": "1"}],
            [(Text("The soup filled the ", ("bowl", "pot")),)],
        ),
        ("s.jsonl", [{"q": "call my_name now", "answer": "it"}], [(Text("call my_name now", ("it",)),)]),
        (
            "s.parquet",
            pa.table({"q": ["one", "two"], "options": [["a"], ["b", "c"]]}),
            [(Text("one", ("a",)),), (Text("two", ("b", "c")),)],
        ),
        ("s.json", json.dumps(TASK), [(Text("one"),), (Text("two"),)]),
        ("s.txt", "one\nline\n\n\ntwo", [(Text("one\nline"),), (Text("two"),)]),
    ],
)
def test_the_texts_of_a_set_are_read_from_every_format(read, name, content, texts):
    assert [
        tuple(text._replace(question=text.question.strip("\n")) for text in item.texts) for item in read(name, content)
    ] == texts


@pytest.mark.parametrize(
    ("record", "fields", "found"),
    [
        (
            {"premise": "It fell.", "question": "effect", "choice1": "It broke.", "choice2": "It flew.", "label": 0},
            {"question": ["premise"], "beside": ["choice1", "choice2"]},
            [Text("It fell.", ("It broke.", "It flew."))],
        ),
        (
            {"qid": 1, "Q text": "A film of 2005", "answers": [{"atext": "Are We There Yet?"}, {"atext": "King Kong"}]},
            {"question": ["Q text"], "beside": ["answers.atext"]},
            [Text("A film of 2005", ("Are We There Yet?", "King Kong"))],
        ),
        ({"a": {"b": "one", "c": "two"}, "d": "it"}, {"question": ["a"]}, [Text("one", ("it", "two")), Text("two", ("it", "one"))]),
    ],
)  # fmt: skip
def test_fields_that_the_settings_name_are_the_question_and_what_stands_beside_it(tmp_path, record, fields, found):
    write_jsonl(tmp_path / "set.jsonl", [record])
    table = {"sets": {"quiz": [str(tmp_path / "set.jsonl")]}, "fields": {"quiz": fields}}
    (item,) = read_set("quiz", DecontaminateSettings.model_validate(table))
    assert list(item.texts) == found
    with pytest.raises(
        DataError, match=r"has no text; correct its paths or corpus\.decontaminate\.fields\.quiz\.question"
    ):
        read_set("quiz", DecontaminateSettings.model_validate({**table, "fields": {"quiz": {"question": ["none"]}}}))


@pytest.mark.parametrize(("name", "content", "message"), rows("a_file_that_cannot_be_read_is_an_error_that_names_it"))
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(read, name, content, message):
    with pytest.raises(DataError, match=message):
        read(name, content)


@pytest.mark.parametrize(
    "table",
    [
        {"sets": {}},
        {"sets": {"MMLU": ["x"]}},
        {"sets": {"a": []}},
        {"sets": {"a": ["x"]}, "min_words": 20},
        {"sets": {"a": ["x"]}, "fields": {"b": {"question": ["q"]}}},
    ],
)
def test_settings_that_mean_nothing_are_refused(table):
    with pytest.raises(ValidationError):
        DecontaminateSettings.model_validate(table)


def test_a_changed_set_makes_another_corpus(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    sources = {"mine": {"paths": [str(tmp_path / "a.txt")]}}
    path = tmp_path / "set.jsonl"
    settings = CorpusSettings.model_validate({"sources": sources, "decontaminate": {"sets": {"quiz": [str(path)]}}})
    keys = []
    for number in (1, 1, 2):
        write_jsonl(path, [{"q": question(number)}])
        keys.append(corpus_key(settings, corpus_inputs(settings)))
    assert keys[0] == keys[1] != keys[2]
