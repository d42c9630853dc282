from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from headwater.corpus.personal.replace import ColumnRedactor, redact
from headwater.sources.settings import REDACTED_KINDS, RedactSettings

sys.path.insert(0, str(Path(__file__).parent))
from planted_data import NEGATIVES, PLANTED

redacted = ColumnRedactor(RedactSettings())


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("password", "Zk9qW2xYt7", "<PASSWORD>"),
        ("api_key", "q8Zk9qW2xYt7Lm3", "<PASSWORD>"),
        ("id", "Zk9qW2xYt7", "Zk9qW2xYt7"),
        ("title", "Of AKIAIOSFODNN7ABCDEFG", "Of <TOKEN>"),
        ("url", "https://bob:Zk9qW2xYt7@corp.com", "https://bob:<PASSWORD>@corp.com"),
        ("licence", "MIT, ask bob@corp.com", "MIT, ask <EMAIL>"),
        ("licence_named", "ask bob@corp.com", "ask <EMAIL>"),
        ("note", "he said \"password: 'kV9x2qLm7Tz'\"", "he said \"password: '<PASSWORD>'\""),
        ("note", 'token_hash:"kV9x2qLm7Tz"', 'token_hash:"<PASSWORD>"'),
        ("author", "J. <jane@corp.com>", "J. <jane@corp.com>"),
        ("site", "81.2.69.142", "81.2.69.142"),
        ("site", "bob@corp.com", "<EMAIL>"),
    ],
)
def test_what_stands_beside_a_text_is_redacted_by_its_name_and_its_form(name, value, left):
    assert redacted({"a": "b", name: value}) == {"a": "b", name: left}


@pytest.mark.parametrize("name", ["jane@doe-corp.com", "+44 20 7946 0958", "AKIAIOSFODNN7ABCDEFG", "a\n81.2.69.142"])
def test_a_column_that_is_called_what_is_redacted_is_skipped(name):
    assert redacted({"a": "b", name: "1", "c": 'with "quotes"'}) == {"a": "b", "c": 'with "quotes"'}
    assert redacted({name: '"1"'}) == {}


@pytest.mark.parametrize("kind", REDACTED_KINDS)
def test_in_a_column_all_is_found_that_is_found_in_a_text(kind):
    rng = random.Random(kind)
    values = [PLANTED[kind](rng) for _ in range(60)]
    for value in values:
        assert redacted({"id": "7", "column": value, "more": "words"})["column"] == redact(value, REDACTED_KINDS)[0]


def test_what_only_resembles_it_stays_in_a_column():
    meta = {f"c{n}": value for n, value in enumerate(NEGATIVES)}
    assert redacted(meta) is meta
