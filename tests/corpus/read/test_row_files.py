"""What functions make of a text or a value: a table each (`tests/golden/rows`), one runner."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from golden_rows import rows

from headwater.corpus.balance import KeptBy
from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_metadata import iso_date
from headwater.corpus.read.json import capped_lines
from headwater.corpus.read.mediawiki import plain_text
from headwater.corpus.read.plain import front_matter, without_boilerplate
from headwater.corpus.read.record import record_meta, text_column


def licence_of_page(head, body):
    return page_text(f"<html><head><title>Rain</title>{head}</head><body><p>It falls.</p>{body}</body></html>")[1][
        "licence"
    ]


FUNCTIONS = {
    "wikitext": plain_text,
    "dates": iso_date,
    "record_languages": lambda name: record_meta({"lang": name})["language"],
    "record_licences": lambda column, value: record_meta({column: value}).get("licence"),
    "front_matter_licences": lambda said: front_matter(f"title: T\n{said}\ntags: x\n").get("licence"),
    "page_licences": lambda head, body: licence_of_page(head, body) or None,
}


@pytest.mark.parametrize(
    ("table", "given", "expected"), [(name, given, last) for name in FUNCTIONS for *given, last in rows(name)]
)
def test_a_function_gives_what_its_table_says(table, given, expected):
    assert FUNCTIONS[table](*given) == expected


# ---- values that JSON can't hold

NOT_A_DATE = ["20190425", "last spring", "May 3, 2011", 1325376000, 1325376000.5, True, "31/12/2011"]
VALUES = [
    *({"license": value} for value in (None, "", " ", [], {}, [""], [None], {"id": ""}, float("nan"))),
    *({"title": value} for value in (None, "", "  ", [1], {"a": 1}, float("nan"), float("inf"), b"bytes", 7)),
    *({"date": value} for value in NOT_A_DATE),
    {"timestamp": 1577836800},
]


@pytest.mark.parametrize("fields", VALUES)
def test_what_is_empty_or_of_another_kind_says_nothing(fields):
    assert record_meta(fields) == {}


@pytest.mark.parametrize(
    ("given", "day"),
    [
        *((text, text[:10]) for text in ("2019-04-25 12:57:54", "2011", "2011-05", "2020-01-02T03:00:00Z")),
        *(("2011-13-45", "2011"), ("Thu, 25 Apr 2019 12:57:54 GMT", "2019-04-25")),
        *((date(2020, 1, 2), "2020-01-02"), (datetime(2020, 1, 2, 3), "2020-01-02")),
    ],
)
def test_a_date_is_kept_as_the_balance_counts_it(given, day):
    assert record_meta({"created": given}) == {"date": day}
    counted = KeptBy()
    counted.add_("s", {"date": day}, "text", 1)
    assert counted.as_dict()["dates"]["s"]["first"] == day


def test_a_column_is_found_in_any_letters_as_it_is_spelt_first():
    assert text_column(["TEXT", "text"], None) == "text"
    assert text_column(["Content"], None) == "Content"
    assert text_column(["a", "BODY"], "body") == "BODY"
    assert text_column(["a"], None) is None


def test_a_line_over_the_limit_is_never_held_whole():
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


# ---- what Project Gutenberg puts around a book

START = "*** START OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
BODY = "Chapter 1\n\nThe river runs down to the sea.\n" * 4000
END = "*** END OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"


@pytest.mark.parametrize(("before", "text", "behind"), rows("a_book_is_what_is_between_its_marks"))
def test_a_book_is_what_is_between_its_marks(before, text, behind):
    assert without_boilerplate(before + text + behind) == (text, before + behind)
