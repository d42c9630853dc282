from __future__ import annotations

import json

import pytest

from headwater.corpus.read.json import capped_lines


def reasons(drops):
    return [drop.reason for drop in drops]


def test_every_line_with_text_is_a_document(read):
    lines = [{"text": "one", "title": "First"}, {"content": "two"}, {"text": "three", "n": 3}]
    documents, drops = read("a.jsonl", b"\n".join(json.dumps(line).encode() for line in lines))
    assert not drops
    assert [document.text for document in documents] == ["one", "two", "three"]
    assert documents[0].meta == {"title": "First"}
    assert [document.id.rsplit("#")[-1] for document in documents] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "malformed_json"),
        (b"just words", "malformed_json"),
        (b'{"text": "\xff"}', "not_utf8"),
        (b'{"title": "only"}', "no_text"),
        (b'{"text": 5}', "no_text"),
        (b'{"text": null}', "no_text"),
        (b'["text"]', "no_text"),
        (b"7", "no_text"),
        (b'{"text": "' + b"a" * 2000 + b'"}', "line_too_long"),
    ],
)
def test_a_bad_line_costs_that_line_only(read, line, reason):
    documents, drops = read("a.jsonl", b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n', max_line_bytes=1000)
    assert [document.text for document in documents] == ["before", "after"]
    assert reasons(drops) == [reason]
    assert drops[0].num_bytes > 0
    assert reason != "malformed_json" or "column" in drops[0].because


def test_an_emoji_cut_in_two_costs_a_character(read):
    documents, drops = read("a.jsonl", b'{"text": "words \\ud83d here"}\n{"text": "\\ud83d\\ude00"}\n')
    assert ([document.text for document in documents], drops) == (["words  here", "\U0001f600"], [])


@pytest.mark.parametrize(
    ("record", "because"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, "chat data: messages holds a conversation"),
        ({"text": ["one", "two"]}, "text holds a list, no string"),
        ({"content": 5}, "content holds a number, no string"),
        ({"text": {"en": "one"}}, "text holds an object, no string"),
        ({"title": "only"}, "no text in a column text or content; corpus.sources.mine.text_column names another"),
        (["text"], "not an object"),
    ],
)
def test_a_record_without_text_says_what_was_found_instead(read, record, because):
    (drop,) = read("a.jsonl", json.dumps(record).encode() + b"\n")[1]
    assert drop.reason == "no_text"
    assert because in drop.because


def test_deep_nesting_is_malformed_not_a_crash(read):
    assert reasons(read("a.jsonl", b"[" * 200_000)[1]) == ["malformed_json"]


def test_a_line_over_the_cap_is_never_held_whole():
    class Endless:
        """200 MB in one line, made as it is read."""

        left, largest = 200_000_000, 0

        def readline(self, limit):
            size = min(limit, self.left)
            self.left -= size
            self.largest = max(self.largest, size)
            return b"a" * size

    stream = Endless()
    assert list(capped_lines(stream, 4_000_000)) == [(None, 200_000_000)]
    assert stream.largest <= 4_000_001


def test_a_line_of_exactly_the_cap_is_kept(read):
    line = b'{"text": "' + b"a" * 988 + b'"}'
    assert len(line) == 1000
    documents, drops = read("a.jsonl", line + b"\n" + line, max_line_bytes=1000)
    assert (len(documents), drops) == (2, [])


def test_blank_lines_and_a_byte_order_mark_are_nothing(read):
    documents, drops = read("a.jsonl", b'\xef\xbb\xbf{"text": "one"}\n\n   \n{"text": "two"}')
    assert ([document.text for document in documents], drops) == (["one", "two"], [])


def test_a_file_without_lines_is_empty(read):
    assert reasons(read("a.jsonl", b"\n\n")[1]) == ["empty"]


class TestJson:
    def test_a_list_of_objects_is_a_document_each(self, read):
        documents, drops = read("a.json", json.dumps([{"text": "one"}, {"x": 1}, {"content": "two"}]).encode())
        assert [document.text for document in documents] == ["one", "two"]
        assert reasons(drops) == ["no_text"]

    def test_one_object_is_one_document(self, read):
        assert [document.text for document in read("a.json", b'{\n "text": "one"\n}')[0]] == ["one"]

    def test_json_lines_under_the_name_json_are_read_as_lines(self, read):
        documents, drops = read("a.json", b'{"text": "one"}\n{"text": "two"}\n{"text": "cut')
        assert [document.text for document in documents] == ["one", "two"]
        assert reasons(drops) == ["malformed_json"]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"{cut", "malformed_json"),
            (b"words\nwords", "malformed_json"),
            (b"\xff\xff", "not_utf8"),
            (b'"a string"', "no_text"),
            (b"[" * 200_000, "malformed_json"),
            (b'["' + b"a" * 5000 + b'"]', "file_too_large"),
        ],
    )
    def test_what_is_not_json_is_dropped_with_a_reason(self, read, content, reason):
        limits = {"max_file_bytes": 4000} if reason == "file_too_large" else {}
        documents, drops = read("a.json", content, **limits)
        assert (documents, reasons(drops)) == ([], [reason])


class TestJsonAmongCode:
    @pytest.mark.parametrize(
        "content",
        [b'{\n  "name": "tool",\n  "version": 2\n}\n', b'{\n  // a comment\n  "strict": true\n}\n', b"[1, 2]"],
    )
    def test_what_holds_no_text_is_code(self, read, content):
        (document,), drops = read("package.json", content, kind="code")
        assert (document.text, document.kind, drops) == (content.decode(), "code", [])
        assert document.meta == {"language": "configuration"}

    def test_records_with_text_are_documents_as_anywhere(self, read):
        documents, drops = read("a.json", b'[{"content": "x = 1", "lang": "Python"}, {"x": 1}]', kind="code")
        assert [(document.text, document.meta) for document in documents] == [("x = 1", {"language": "python"})]
        assert reasons(drops) == ["no_text"]

    def test_a_column_that_the_settings_name_must_be_there(self, read):
        documents, drops = read("a.json", b'{"code": "x = 1"}', kind="code", of_source={"text_column": "code"})
        assert ([document.text for document in documents], drops) == (["x = 1"], [])
        assert reasons(read("b.json", b'{"x": 1}', kind="code", of_source={"text_column": "code"})[1]) == ["no_text"]

    def test_bytes_that_are_no_text_are_dropped(self, read):
        assert reasons(read("a.json", b"\xff\xfa", kind="code")[1]) == ["not_utf8"]


def test_what_a_record_says_of_its_text_is_kept(read):
    line = b'{"text": "words", "license": "CC0-1.0", "id": 7, "metadata": {"url": "http://a", "date": "2020-01-02"}}'
    (document,), _ = read("a.jsonl", line)
    assert document.meta == {"licence": "CC0-1.0", "url": "http://a", "date": "2020-01-02"}
