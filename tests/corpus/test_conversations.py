"""A source of conversations: what is refused and why, and which stages of a corpus have a say."""

from __future__ import annotations

import gzip
import json

import pytest
from pydantic import ValidationError

from headwater.core.conversations import Message, messages_of
from headwater.corpus.balance import stage_of
from headwater.corpus.load import dropped_sample, read_documents
from headwater.corpus.sources.settings import CorpusSettings


def line(*contents: str, roles=("user", "assistant")) -> str:
    messages = [{"role": roles[at % len(roles)], "content": content} for at, content in enumerate(contents)]
    return json.dumps({"messages": messages}, ensure_ascii=False)


GOOD = [line(f"What is {number}?", f"It is the number {number}.") for number in range(40)]
BAD = {
    "malformed_json": '{"messages": [',
    "no_messages": '{"text": "A text."}',
    "unknown_role": line("Hi", "Hello", roles=("user", "robot")),
    "empty_message": line("Hi", "  \n "),
    "system_not_first": line("Hi", "Be brief", "Hello", roles=("user", "system", "assistant")),
    "not_alternating": line("Hi", "Hi", "Hello", roles=("user", "user", "assistant")),
    "ends_with_user": line("Hi", "Hello", "And?"),
    "no_answer": line("Hi"),
    "long_conversation": line("Hi", "words " * 400),
}


@pytest.fixture
def build_talks(build, tmp_path):
    def build_from(lines, name="talks.jsonl", **settings):
        source = {"kind": "conversations", "paths": [str(tmp_path / "in")], "max_characters": 2000}
        data = "\n".join(lines).encode()
        content = gzip.compress(data) if name.endswith(".gz") else data
        return build({name: content}, sources={"talks": source}, **settings)

    return build_from


def kept(tmp_path) -> list[list[Message]]:
    documents = [
        each for split in ("train", "validation") for each in read_documents(tmp_path / "corpus", split, "talks")
    ]
    assert {document.kind for document in documents} == {"conversations"}
    return [messages_of(document.text) for document in documents]


def test_every_refusal_has_its_reason_in_the_balance(build_talks, tmp_path):
    balance = build_talks([*GOOD, *BAD.values(), GOOD[3]])["sources"]["talks"]
    dropped = {reason: count["documents"] for reason, count in balance["dropped"].items()}
    assert dropped == {**dict.fromkeys(BAD, 1), "exact_duplicate": 1}
    assert balance["kept"]["documents"] == len(GOOD) == len(kept(tmp_path))
    assert {stage_of(reason) for reason in BAD} == {"reading"}


def test_messages_of_others_than_role_and_content_say_what_is_wanted(build_talks, tmp_path):
    build_talks([*GOOD, '{"conversations": [{"from": "human", "value": "Hi"}]}'])
    found = dropped_sample(tmp_path / "corpus", "no_messages", "talks", 1)
    assert "message 1: it has no role; expected {role: string, content: string}" in str(found)


@pytest.mark.parametrize("name", ["talks.jsonl.gz", "talks.json", "talks.ndjson"])
def test_compressed_and_other_json_is_read_alike(build_talks, tmp_path, name):
    lines = [f"[{','.join(GOOD)}]"] if name == "talks.json" else GOOD
    build_talks(lines, name)
    assert sorted(kept(tmp_path)) == sorted(messages_of(json.dumps(json.loads(each)["messages"])) for each in GOOD)


def test_words_stay_as_they_were_written_but_for_line_ends_and_invisible_characters(build_talks, tmp_path):
    odd = line("Read:\r\n\n    x\u200b = 1  \n", '    indented "code"\\n\ttab <|im_end|>')
    build_talks([*GOOD, odd])
    assert [
        Message("user", "Read:\n\n    x\u200b = 1"),
        Message("assistant", '    indented "code"\\n\ttab <|im_end|>'),
    ] in kept(tmp_path)


def test_rules_for_prose_languages_and_near_duplicates_leave_conversations_alone(build_talks, tmp_path):
    talks = [line("Was ist die Hauptstadt?", f"{number}.") for number in range(40)]
    assert build_talks(talks)["sources"]["talks"]["kept"]["documents"] == 40


def test_personal_data_is_replaced_in_the_words_alone(build_talks, tmp_path):
    build_talks([*GOOD, line("Who is it?", "Write to anna.berg@kanzlei-nord.de.")], redact={"kinds": ["email"]})
    assert [Message("user", "Who is it?"), Message("assistant", "Write to <EMAIL>.")] in kept(tmp_path)


def test_a_conversation_with_a_question_of_an_evaluation_set_goes_whole(build_talks, tmp_path):
    question = "Which of the seven rivers of the northern valley carries the most water to the inland sea in spring?"
    (tmp_path / "set.jsonl").write_text(json.dumps({"question": question}) + "\n")
    talks = [*GOOD, line("Say it in full.\n" + "Long words before it. " * 60, question)]
    balance = build_talks(talks, decontaminate={"sets": {"rivers": [str(tmp_path / "set.jsonl")]}})
    assert balance["sources"]["talks"]["dropped"]["contaminated_rivers"]["documents"] == 1


def test_of_few_conversations_whole_ones_are_held_out(build_talks, tmp_path):
    talks = [line(f"What is {number}?", "words " * 200) for number in range(4)]
    splits = build_talks(talks)["splits"]
    assert splits["validation"]["talks"]["documents"] == 1 and splits["train"]["talks"]["documents"] == 3
    assert len(kept(tmp_path)) == 4


def test_a_length_is_asked_of_conversations_alone():
    with pytest.raises(ValidationError, match="max_characters is of conversations"):
        CorpusSettings(sources={"mine": {"paths": ["x"], "max_characters": 100}})
    with pytest.raises(ValidationError, match="read from files"):
        CorpusSettings(sources={"mine": {"kind": "conversations", "builtin": "almanac"}})
