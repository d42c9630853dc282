from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from headwater.corpus.personal.replace import redact, redact_columns
from headwater.corpus.sources.settings import REDACTED_KINDS

sys.path.insert(0, str(Path(__file__).parent))
from planted_data import NEGATIVES, PLANTED


def redacted(meta):
    return redact_columns(meta, REDACTED_KINDS)


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
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
def test_what_stands_beside_a_text_is_redacted(name, value, left):
    assert redacted({"a": "b", name: value}) == {"a": "b", name: left}


def test_what_stands_in_another_column_says_nothing_of_a_value():
    assert redacted({"title": "GNU release", "url": "81.2.69.142"})["url"] == "<IP_ADDRESS>"


@pytest.mark.parametrize("kind", REDACTED_KINDS)
def test_in_a_column_all_is_found_that_is_found_in_a_text(kind):
    rng = random.Random(kind)
    values = [PLANTED[kind](rng) for _ in range(60)]
    for value in values:
        assert redacted({"id": "7", "column": value, "more": "words"})["column"] == redact(value, REDACTED_KINDS)[0]


def test_what_only_resembles_it_stays_in_a_column():
    meta = {f"c{n}": value for n, value in enumerate(NEGATIVES)}
    assert redacted(meta) is meta
