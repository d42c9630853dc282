"""Rows of tables as documents: one suite for every format, the same columns in each."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.corpus.balance import KeptBy
from headwater.corpus.read.html_metadata import iso_date
from headwater.corpus.read.record import record_meta, text_column

ROW = {
    "id": 7, "body": "The words of it.", "Title": "A title", "license": "CC0-1.0", "subject": "rivers",
    "created": "2020-01-02", "extra": True, "long": "x" * 201, "source": "elsewhere", "kind": "odd", "part": "one",
}  # fmt: skip
SAID = {"title": "A title", "licence": "CC0-1.0", "date": "2020-01-02"}


def json_lines(row, path):
    path.write_text(json.dumps(row))


def json_list(row, path):
    path.write_text(json.dumps([row]))


def table(row, path):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(row)
    writer.writerow(row.values())
    path.write_text(out.getvalue())


def parquet(row, path):
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), path)


def arrow(row, path):
    data = pa.table({name: [value] for name, value in row.items()})
    with pa.ipc.new_file(path, data.schema) as writer:
        writer.write_table(data)


FORMATS = {
    "a.jsonl": json_lines, "a.json": json_list, "a.csv": table, "a.parquet": parquet, "a.arrow": arrow,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    def test_the_column_that_the_settings_name_is_the_text_and_those_known_are_metadata(self, read, tmp_path, name):
        FORMATS[name](ROW, tmp_path / name)
        (document,), drops = read(name, None, of_source={"text_column": "body"})
        assert (document.text, document.meta, drops) == (ROW["body"], SAID, [])
        assert (document.source, document.kind) == ("mine", "text")

    def test_a_table_without_a_column_of_text_says_what_it_has_and_which_setting_names_one(self, read, tmp_path, name):
        FORMATS[name](ROW, tmp_path / name)
        documents, (drop,) = read(name, None)
        assert (documents, drop.reason) == ([], "no_text")
        assert drop.because == "no text in a column text or content; corpus.sources.mine.text_column names another"
        assert "body" in drop.excerpt and "subject" in drop.excerpt

    def test_the_wanted_column_is_not_replaced_by_another(self, read, tmp_path, name):
        FORMATS[name]({"text": "words", "id": 1}, tmp_path / name)
        documents, (drop,) = read(name, None, of_source={"text_column": "body"})
        assert (documents, drop.reason) == ([], "no_text")
        assert drop.because == "no text in a column body; corpus.sources.mine.text_column names another"

    def test_a_name_of_a_column_may_be_anything(self, read, tmp_path, name):
        names = ["self", "part", "x.y", "", "n" * 100, "group", "source", "licence_named"]
        FORMATS[name]({**dict.fromkeys(names, "v"), "text": "words"}, tmp_path / name)
        (document,), _ = read(name, None)
        assert document.meta == {}, "and none passes for what is said here"


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize(
    ("column", "value", "licence"),
    [
        ("licenses", ["MIT"], "MIT"),
        ("licenses", ["mit", "apache-2.0"], "MIT AND Apache-2.0"),
        ("max_stars_repo_licenses", ["MIT", "MIT"], "MIT"),
        ("licenses", ["GPL-2.0 OR MIT", "ISC"], "(GPL-2.0-only OR MIT) AND ISC"),
        ("licenses", ["my own"], "my own"),
        ("licenses", [], None),
        ("licenses", ["MIT", "my own"], "my own"),
        ("licenses", ["a" * 200, "b" * 200], "a" * 200),
        ("licenses", ["MIT", "b" * 301], "unknown"),
        ("licenses", ["MIT"] * 99, "unknown"),
        ("licenses", [f"LicenseRef-{n}" for n in range(50)], "unknown"),
        ("licenses", [{"id": "GPL-3.0"}], "GPL-3.0-only"),
        ("licenses", [{"id": "MIT"}, {"id": "GPL-3.0"}], "MIT AND GPL-3.0-only"),
        ("licenses", [{"text": "ours"}], "unknown"),
        ("license", {"spdx": "GPL-3.0-only"}, "GPL-3.0-only"),
        ("license", {"key": "other", "name": "MIT"}, "other"),
        ("license", {"terms": "ours"}, "unknown"),
        ("license", "MIT AND " * 36 + "MIT AND MIT AND GPL-3.0-only", "MIT AND " * 36 + "MIT AND MIT AND GPL-3.0-only"),
        ("license", "x" * 301, "unknown"),
        ("license", 7, "unknown"),
    ],
)
def test_a_licence_counts_in_whatever_form_it_is_named_and_several_all_apply(
    read, tmp_path, name, column, value, licence
):
    if value or name == "a.jsonl":
        FORMATS[name]({"content": "x = 1", column: value}, tmp_path / name)
        (document,), _ = read(name, None)
        assert document.meta.get("licence") == licence


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("Python", "python"), ("C++", "c++"), ("cpp", "c++"), ("C#", "c#"), ("JavaScript", "javascript"), ("Shell", "shell"),
        ("Jupyter Notebook", "Jupyter Notebook"), ("en", "en"), ("cs", "cs"), ("pl", "pl"), ("ml", "ml"), ("ts", "ts"),
        ("en-US", "en"), ("pt_BR", "pt"), ("EN", "en"), ("Vim Script", "Vim Script"), ("English", "English"),
    ],
)  # fmt: skip
def test_programming_languages_have_our_names_and_others_theirs(given, ours):
    assert record_meta({"lang": given}) == {"language": ours}


def test_what_a_list_names_beside_texts_counts_too():
    assert record_meta({"licenses": ["MIT", {"id": "GPL-3.0"}]}) == {"licence": "MIT AND GPL-3.0-only"}
    assert record_meta({"licenses": ["MIT", ["GPL-3.0"]]}) == {"licence": "unknown"}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize(
    ("value", "licence"),
    [
        ({"spdx": "GPL-3.0-only"}, "GPL-3.0-only"),
        ([{"id": "MIT"}, {"id": "GPL-3.0"}], "MIT AND GPL-3.0-only"),
        (b"GPL-3.0", "unknown"),
        ("x" * 400_000, "unknown"),
    ],
)
def test_a_column_of_any_type_that_names_a_licence_counts(read, tmp_path, name, value, licence):
    FORMATS[name]({"text": "x = 1", "license": value}, tmp_path / name)
    (document,), _ = read(name, None)
    assert document.meta["licence"] == licence


@pytest.mark.parametrize("value", [None, "", " ", [], {}, [""], [None], {"id": ""}, float("nan")])
def test_an_empty_field_names_no_licence(value):
    assert record_meta({"license": value}) == {}


def test_an_empty_field_takes_back_nothing_that_the_metadata_says(read, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x", "license": None, "meta": {"license": "GPL-3.0"}}))
    (document,), _ = read("a.jsonl", None)
    assert document.meta["licence"] == "GPL-3.0"


@pytest.mark.parametrize(
    ("given", "date"),
    [
        ("2019-04-25 12:57:54", "2019-04-25"), ("2011", "2011"),
        ("2011-05", "2011-05"), ("2020-01-02T03:00:00Z", "2020-01-02"), ("2011-13-45", "2011"),
        ("Thu, 25 Apr 2019 12:57:54 GMT", "2019-04-25"),
    ],
)  # fmt: skip
def test_a_date_is_understood_in_isos_form_and_that_of_mail(given, date):
    assert record_meta({"created": given}) == {"date": date}
    counted = KeptBy()
    counted.add_("s", shard_line(date), 1)
    assert counted.as_dict()["dates"]["s"]["first"] == date[:10]


def shard_line(date):
    return json.dumps({"text": "words", "metadata": {"date": date}}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "value", ["20190425", "last spring", "May 3, 2011", 1325376000, 1325376000.5, True, "31/12/2011"]
)
def test_what_is_not_understood_as_a_date_is_not_called_one(value):
    assert record_meta({"date": value}) == {}


def test_seconds_are_no_date_and_dates_are_written_as_iso():
    assert record_meta({"timestamp": 1577836800}) == {}
    assert record_meta({"date": date(2020, 1, 2)}) == {"date": "2020-01-02"}
    assert record_meta({"date": datetime(2020, 1, 2, 3)}) == {"date": "2020-01-02"}


@pytest.mark.parametrize("value", [None, "", "  ", [1], {"a": 1}, float("nan"), float("inf"), b"bytes", 7])
def test_what_is_no_string_is_no_title(value):
    assert record_meta({"title": value}) == {}


def test_what_is_in_an_object_of_metadata_counts_as_beside_it(read):
    line = b'{"text": "words", "meta": {"url": "http://a", "pile_set_name": "X"}, "metadata": {"url": "http://b"}}'
    (document,), _ = read("a.jsonl", line)
    assert document.meta == {"url": "http://b"}


def test_a_column_is_found_in_any_letters_as_it_is_spelt_first():
    assert text_column(["TEXT", "text"], None) == "text"
    assert text_column(["Content"], None) == "Content"
    assert text_column(["a", "BODY"], "body") == "BODY"
    assert text_column(["a"], None) is None


def test_metadata_that_expands_too_far_ends_the_file(read, tmp_path):
    """A kilobyte of Parquet may say the same 200 letters to each of a million rows."""
    rows = 1_000_000
    columns = {n: pa.array(["x" * 200]).dictionary_encode().take(pa.array([0] * rows)) for n in ("title", "url")}
    pq.write_table(pa.table({"text": pa.array(["w"] * rows), **columns}), tmp_path / "a.parquet", compression="zstd")
    documents, drops = read("a.parquet", None)
    assert len(documents) < rows // 4
    assert [drop.reason for drop in drops] == ["expands_too_far"]


def test_dates_that_python_has_not_cost_their_value_only(read, tmp_path):
    dates = pa.array([2**60, 0], pa.timestamp("ms", tz="No/Where"))
    pq.write_table(pa.table({"text": ["one", "two"], "date": dates}), tmp_path / "a.parquet")
    documents, drops = read("a.parquet", None)
    assert ([document.text for document in documents], drops) == (["one", "two"], [])


def test_what_is_redacted_in_texts_is_redacted_beside_them(read):
    line = (
        b'{"text": "words", "author": "J. <jane.doe@mail.net>", "title": "By jane.doe@mail.net", "mail": "j@mail.net"}'
    )
    (document,), _ = read("a.jsonl", line, redact={})
    assert document.meta == {"author": "J. <jane.doe@mail.net>", "title": "By <EMAIL>"}
    assert read("a.jsonl", line)[0][0].meta["title"] == "By jane.doe@mail.net"


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2015-06-01T00:00+02:00 (rev)", "2015-06-01"),
        (" 2015-06-01 ", "2015-06-01"),
        ("2015-06-01T00:00:00Z", "2015-06-01"),
        ("2004-5-6", "2004"),
        ("2004-05 (reprint)", "2004-05"),
        ("2004-13-45", "2004"),
        ("of 2004-05-06", "2004-05-06"),
        ("6 May 2004", ""),
        ("Thu, 25 Apr 2019 12:57:54 GMT", "2019-04-25"),
        ("25 Apr 2019 00:30:00 +0200", "2019-04-25"),
        ("Thu, 35 Apr 2019 12:57:54 GMT", ""),
        ("25 Apr 99999999999999999999 12:57:54 GMT", ""),
        ("12004-05-06", ""),
        ("2015-06-011", "2015-06"),
        ("1325376000", ""),
        ("", ""),
    ],
)
def test_a_date_is_found_in_what_stands_around_it_and_a_year_alone_counts(written, date):
    assert iso_date(written) == date
