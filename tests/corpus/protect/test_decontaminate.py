from __future__ import annotations

import json
import random
import textwrap
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from headwater.core.errors import DataError
from headwater.corpus.document import Document
from headwater.corpus.findings import Notes
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.corpus.protect.evaluation_sets import Text, read_set
from headwater.corpus.protect.overlap import bare_words, hashes_of
from headwater.corpus.sources.settings import CorpusSettings, DecontaminateSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

NUM_ITEMS = 60


def candidate(text, id="d"):
    return Candidate(Document(text, "mine", id, id, "text"), WordHasher())


def question(number):
    words = random.Random(f"question {number}").sample(WORDS, 24)
    return f"{' '.join(words[:12]).capitalize()}, {' '.join(words[12:])}?"


WORDS = [
    f"{first}{second}"
    for first in ["ba", "ce", "di", "fo", "gu", "la", "me", "ni"]
    for second in ["tan", "vel", "rik", "mos", "pud"]
]


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
        words = bare_words(verdict.candidate.document.text)
        assert not _shares(words, bare_words(question(number)), 13)
    (quiz,) = step.searched
    report = quiz.report(notes.of("contaminated_"))
    assert (report["items"], report["found"], report["documents"]) == (NUM_ITEMS, NUM_ITEMS, NUM_ITEMS)


def _shares(words, item, n):
    runs = {tuple(item[at : at + n]) for at in range(len(item) - n + 1)}
    return any(tuple(words[at : at + n]) in runs for at in range(len(words) - n + 1))


def test_text_that_shares_words_but_no_run_of_them_is_left_alone(make):
    step = make()
    for seed in range(200):
        words = random.Random(seed).choices(WORDS, k=1000)
        text = " ".join(words) + f" {' '.join(question(seed % NUM_ITEMS).split()[:12])} and on."
        verdict = step(candidate(text))
        assert (verdict.reason, verdict.cuts) == (None, ())
        assert verdict.candidate.document.text is text


def test_only_the_sentence_is_cut(make, make_prose):
    before, after = make_prose(300, 1).strip(), make_prose(300, 2).strip()
    verdict = make()(candidate(f"{before} Well: {question(3)} {after}"))
    assert verdict.candidate.document.text == f"{before} {after}"
    (cut,) = verdict.cuts
    assert (cut.reason, cut.note) == ("contaminated_quiz", "quiz quiz:3")
    assert cut.excerpt == f"Well: {question(3)} "
    assert cut.num_bytes == len(cut.excerpt)


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


def test_a_set_without_an_item_to_find_is_an_error_that_says_how_long_they_must_be(make):
    long_enough = (
        r"sets\.quiz: none of its 1 items is as long as .*min_words=8, .*min_characters=16; lower these or take"
    )
    for item in ({"text": " ".join(WORDS[:6])}, {"text": "one"}, {"question": "中国的首都在哪?", "answer": "北京"}):
        with pytest.raises(DataError, match=long_enough):
            make([item])


def test_a_dropped_document_says_which_item_and_shows_the_words_it_shares(make, make_prose):
    verdict = make()(candidate(f"{make_prose(40)}\n{question(5)}\n{make_prose(40, 3)}"))
    assert (verdict.because, verdict.excerpt) == ("item set.jsonl#6", question(5))
    kept = make()(candidate(f"{make_prose(400)}\n{question(5)}\n{make_prose(40, 3)}\n{question(7)}"))
    assert [cut.because for cut in kept.cuts] == ["items set.jsonl#6, set.jsonl#8"]
    many = make(max_passages=50)(candidate(" ".join(question(number) for number in range(6))))
    assert many.because == "items set.jsonl#1, set.jsonl#2, set.jsonl#3 and 3 others"


def test_an_item_of_short_fields_is_searched_as_one(make, make_prose):
    step = make([{"stem": " ".join(WORDS[:5]), "end": " ".join(WORDS[5:9])}])
    assert step(candidate(f"{make_prose(400)}\n{' '.join(WORDS[:9])}.")).cuts


def test_the_set_named_first_gives_the_reason_and_all_are_in_the_report(tmp_path, make_prose):
    for name in ("one", "two"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": question(0)}])
    settings = DecontaminateSettings(sets={name: [str(tmp_path / f"{name}.jsonl")] for name in ("two", "one")})
    step = Decontaminator(settings)
    (cut,) = step(candidate(f"{make_prose(400)}\n{question(0)}")).cuts
    assert (cut.reason, cut.note) == ("contaminated_two", "two one two:0 one:0")
    report = {each.name: each.report(Counter(cut.note.split())) for each in step.searched}
    assert [(report[name]["found"], report[name]["documents"]) for name in ("one", "two")] == [(1, 1), (1, 1)]


DECLARATION = "The Declaration of the Rights of Man and of the Citizen"
LAW = {
    "question": "下列说法正确的是",
    "A": "中华人民共和国宪法是国家的根本大法",
    "B": "全国人民代表大会是最高国家权力机关",
    "C": "公民的合法的私有财产不受侵犯",
    "D": "国家尊重和保障人权",
    "answer": "B",
}
FRENCH = {
    "question": "Which text did the Assembly adopt in August 1789?",
    "choices": [DECLARATION, "The Code", "A charter", "A treaty"],
    "answer": 0,
}


@pytest.mark.parametrize(
    "innocent",
    [
        "下列说法正确的是：本店周末营业，节假日休息，欢迎光临。",
        "中华人民共和国宪法是国家的根本大法，一九五四年首次通过，后经多次修订。全国人民代表大会是最高国家权力机关。",
        "我们认为，公民的合法的私有财产不受侵犯，国家尊重和保障人权，这是一条基本原则。",
        f"In the museum we saw {DECLARATION} and a treaty.",
        f"Which text did they like? {DECLARATION}, of course.",
    ],
)
def test_a_text_that_names_an_option_or_the_words_all_questions_have_is_innocent(make, innocent):
    verdict = make([LAW, FRENCH])(candidate(innocent))
    assert (verdict.reason, verdict.cuts) == (None, ())


def test_a_question_that_several_items_ask_counts_with_more_of_an_answer_than_a_word_or_two(make):
    asked = "Which of the following sentences is true?"
    step = make([{"question": asked, "choices": [f"{n} is odd", f"{n} is a prime number"]} for n in ("five", "ten")])
    assert step(candidate(f"{asked} Ten is odd")).reason is None
    assert step(candidate(f"{asked} Ten is odd. Ten is a prime number.")).because == "item set.jsonl#2"


def test_of_a_question_of_a_thousand_items_a_place_names_the_64_with_most_of_their_answers(make):
    asked = "Which of the following statements is true?"
    records = [{"question": asked, "choices": ["None of the others is", f"Number {n} is prime"]} for n in range(1000)]
    step = make(records)
    found = step._spaced.find(hashes_of(f"{asked} None of the others is. Number 900 is prime.", WordHasher()))
    assert [each.item for each in found] == [*range(63), 900]


@pytest.mark.parametrize("text", ["The Code, we read, was new. " + "More was written later. " * 20, ""])
def test_a_question_whose_answers_stand_far_from_it_is_innocent(make, text):
    asked = "Which text did the Assembly adopt in August 1789?"
    assert make([FRENCH])(candidate(f"{text} {asked} Nobody knows.")).reason is None


@pytest.mark.parametrize(
    ("leak", "item"),
    [
        ("3. 下列说法正确的是（ ）\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n答案：B", 1),
        ("下列说法正确的是 {A} {B} {C} {D}", 1),
        (
            "Q: Which text did the Assembly adopt in August 1789? A: The Declaration of the Rights of Man and of the Citizen.",
            2,
        ),
        (
            "Which text did the Assembly adopt in August 1789?\n(a) The Declaration of the Rights of Man and of the Citizen\n(b) The Code",
            2,
        ),
        (
            "| Question | A | B |\n|---|---|---|\n| Which text did the Assembly adopt in August 1789? | A treaty | The Code |",
            2,
        ),
        ('{{"question": "Which text did the Assembly adopt in August 1789?", "choices": ["A treaty", "The Code"]}}', 2),
        ("Correct answer: The Code\nQuestion: which text did the Assembly adopt in August 1789", 2),
    ],
)
def test_a_question_with_its_options_or_its_answer_is_found(make, leak, item):
    verdict = make([LAW, FRENCH])(candidate(leak.format(**LAW)))
    assert (verdict.reason, verdict.because) == ("contaminated_quiz", f"item set.jsonl#{item}")


@pytest.mark.parametrize(
    "leak",
    [
        "Which text did <b>the</b> Assembly adopt in August 1789? <li>A treaty</li>",
        "| Which text did the Assembly | The Code |\n| adopt in August 1789? | A charter |",
        "Which text did the Assembly adopt, we ask, in August 1789? Think before you scroll. The answer is: A charter",
    ],
)
def test_words_may_stand_amid_those_of_a_question_that_has_an_answer_beside_it(make, leak):
    assert make([FRENCH])(candidate(leak)).because == "item set.jsonl#1"


def test_characters_may_be_written_as_escapes_and_the_text_is_cut_where_they_stand(make, make_prose):
    asked = "水蒸气变成液态水的过程在物理学中叫做什么？"
    record = {"question": asked, "answer": "凝结"}
    prose = make_prose(400).strip()
    for escaped in (json.dumps(record), "".join(f"&#{ord(each)};" for each in f"{asked}凝结")):
        verdict = make([record])(candidate(f"{prose}\n{escaped}\n{prose}"))
        assert verdict.candidate.document.text == f"{prose}\n{prose}"


def test_of_a_chinese_text_the_sentence_is_cut(make, make_prose):
    asked = "在一个密闭的容器中，将两种不同温度的气体混合之后，经过足够长的时间，关于两种气体的温度、压强和内能的变化，最准确的描述是什么"
    verdict = make([{"question": asked, "answer": "温度相同"}])(
        candidate(f"{make_prose(400)}\n前一句话。{asked}？后一句话。")
    )
    assert verdict.candidate.document.text.endswith(
        "前一句话。？后一句话。"
    ) or verdict.candidate.document.text.endswith("前一句话。后一句话。")


class TestReading:
    def sets(self, tmp_path, name, write):
        path = tmp_path / name
        write(path)
        return read_set("quiz", DecontaminateSettings(sets={"quiz": [str(path)]}))

    def texts(self, tmp_path, record):
        items = self.sets(tmp_path, "s.jsonl", lambda path: write_jsonl(path, [record, {"n": 1}]))
        assert [item.label.rpartition("/")[2] for item in items] == ["s.jsonl#1"]
        return items[0].texts

    @pytest.mark.parametrize(
        "record",
        [
            {"id": "7", "subject": "law", "question": "What?", "choices": ["one", "two"], "answer": 1},
            {"question": "What?", "choices": {"text": ["one", "two"], "label": ["A", "B"]}, "answerKey": "B"},
            {"question": "What?", "A": "one", "B": "two", "answer": "B"},
            {"ctx": "What?", "endings": ["one", "two"], "label": "1"},
            {"input": "What?", "target_scores": {"one": 0, "two": 1}},
            {"goal": "What?", "sol1": "one", "sol2": "two", "label": 1},
            {"prompt": "What?", "options": [{"text": "one"}, {"text": "two"}]},
            {"premise": "What?", "question": "effect", "alternative_1": "one", "alternative_2": "two", "label": 1},
            {"id": 3, "question": {"stem": "What?", "choices": [{"text": "one", "label": "A"}, {"text": "two"}]}},
            {"question": "What?", "answer": {"choices": ["one", "two"], "correct": 0}},
            {"question": "What?", "answer": {"value": "one", "aliases": ["two"], "type": "Entity"}},
            {"Question": "What?", "Option 1": "one", "Option 2": "two", "Answer Key": "B"},
            {"prompt": "What?\nA. one\nB. two", "completion": " B"},
            {"query": "Question: What? Answer Choices: (A) one (B) two", "gold": [0]},
            {"messages": [{"content": "What?"}, {"content": "one"}, {"content": "two"}]},
            {"instruction": "What?", "input": "", "sol_a": "one", "text": "two"},
            {"qtext": "What?", "options": "a) one, b) two"},
        ],
    )
    def test_a_question_goes_with_its_options_which_never_stand_alone(self, tmp_path, record):
        ((question, answers),) = self.texts(tmp_path, record)
        assert (question.strip(), sorted(answers)) == ("What?", ["one", "two"])

    def test_a_passage_and_a_long_answer_are_texts_and_short_answers_go_with_the_question(self, tmp_path):
        long = "word " * 30
        record = {"passage": long, "question": "What?", "answers": [long.upper(), "it"]}
        assert self.texts(tmp_path, record) == (Text(long), Text(long.upper()), Text("What?", (long.upper(), "it")))

    def test_a_gap_divides_a_question_and_its_longer_part_is_looked_for(self, tmp_path):
        record = {"sentence": "The soup filled the _ to the brim.", "option1": "bowl", "option2": "pot", "answer": "1"}
        assert self.texts(tmp_path, record) == (Text("The soup filled the ", ("bowl", "pot")),)
        assert self.texts(tmp_path, {"q": "call my_name now", "answer": "it"}) == (Text("call my_name now", ("it",)),)

    def test_parquet(self, tmp_path):
        table = pa.table({"q": ["one", "two"], "options": [["a"], ["b", "c"]]})
        items = self.sets(tmp_path, "s.parquet", lambda path: pq.write_table(table, path))
        assert [item.texts for item in items] == [(Text("one", ("a",)),), (Text("two", ("b", "c")),)]

    def test_the_examples_of_a_json_task(self, tmp_path):
        task = {"name": "t", "keywords": ["k"], "examples": [{"input": "one"}, {"input": "two"}]}
        items = self.sets(tmp_path, "s.json", lambda path: path.write_text(json.dumps(task)))
        assert [item.texts for item in items] == [(Text("one"),), (Text("two"),)]

    def test_the_paragraphs_of_a_text(self, tmp_path):
        items = self.sets(tmp_path, "s.txt", lambda path: path.write_text("one\nline\n\n\ntwo\n"))
        assert [item.texts[0].question.strip() for item in items] == ["one\nline", "two"]

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("s.jsonl", "{cut", "can't be read"),
            ("s.jsonl", '{"q": "one"}\n\n{"q": two}\n', "line 3, column 7: Expecting value"),
            ("s.jsonl", '{"q": "one"}\n' + "[" * 100_000, "line 2: "),
            ("s.parquet", "no", "can't be read"),
            ("s.html", "<p>", "format is html"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_an_error_that_names_it(self, tmp_path, name, content, message):
        with pytest.raises(DataError, match=message):
            self.sets(tmp_path, name, lambda path: path.write_text(content))

    def test_a_missing_set_is_reported_by_its_own_setting(self, tmp_path):
        with pytest.raises(
            DataError, match=r"^corpus\.decontaminate\.sets\.quiz: no such file or folder: '.*s\.jsonl'"
        ):
            self.sets(tmp_path, "s.jsonl", lambda path: None)

    def test_a_set_without_text_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="quiz has no text"):
            self.sets(tmp_path, "s.jsonl", lambda path: write_jsonl(path, [{"a": 1}]))


@pytest.mark.parametrize(
    "table",
    [
        {"sets": {}},
        {"sets": {"MMLU": ["x"]}},
        {"sets": {"a": []}},
        {"sets": {"a": ["x"]}, "min_words": 20},
    ],
)
def test_settings_that_mean_nothing_are_refused(table):
    with pytest.raises(ValidationError):
        DecontaminateSettings.model_validate(table)


def test_workers_that_start_elsewhere_find_the_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "set.jsonl", [{"q": question(0)}])
    settings = DecontaminateSettings(sets={"quiz": ["set.jsonl"]}).with_absolute_paths()
    monkeypatch.chdir("/")
    assert [item.texts for item in read_set("quiz", settings)] == [(Text(question(0)),)]


def test_a_changed_set_makes_another_corpus(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    sources = {"mine": {"paths": [str(tmp_path / "a.txt")]}}
    path = tmp_path / "set.jsonl"
    settings = CorpusSettings.model_validate({"sources": sources, "decontaminate": {"sets": {"quiz": [str(path)]}}})
    write_jsonl(path, [{"q": question(1)}])
    before = corpus_key(settings, corpus_inputs(settings))
    assert corpus_key(settings, corpus_inputs(settings)) == before
    write_jsonl(path, [{"q": question(2)}])
    assert corpus_key(settings, corpus_inputs(settings)) != before
