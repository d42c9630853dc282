from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headwater.export.data_card import markdown, plain, table
from headwater.machine.device.settings import FORMATS
from headwater.runs.measures import BASELINES

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b || c",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "`` ` ```",
    "# heading\n\n---\n",
    "**bold** _em_ ~~gone~~",
    "&lt;b&gt; &amp;",
    "\u202egnp.exe \u200b\x00\x1b[31m",
    "http://evil.org/ www.evil.org",
    "x" * 5000,
    "\\",
    "\\|",
]


def amount(documents=2, num_bytes=300):
    return {"documents": documents, "bytes": num_bytes}


@pytest.fixture
def card():
    seen = {"documents": 2, "tokens": 90, "rows": 3, "tokens_lost": 0, "padding": 0.01, "weight": 0.25, "epochs": 1.5}
    stages = {
        "quality": {**amount(), "reasons": {"too_short": amount(1, 10)}},
        "reading": {**amount(0, 0), "reasons": {}},
    }
    source = {
        "kind": "text", "from": "texts", "licence": "CC0-1.0", "read": amount(3, 310), "text": amount(),
        "cleaned_bytes": 0,
        "stages": stages, "dates": {"first": "1990", "last": "2001-02-03"}, "training": seen,
        "by": {"licence": {"MIT": amount()}, "language": {"en": amount()}, "kind": {"text": amount()}},
    }  # fmt: skip
    return {
        "name": "mine",
        "sources": {"books": source},
        "licences": {"allow": ["permissive"], "not_allowed": {"GPL-3.0-only": 4}},
        "decontamination": {"quiz": {"items": 9, "too_short": 1, "found": 2, "documents": 3, "bytes": 55}},
        "redaction": {"email": {"replaced": 7, "bytes": 77}},
        "settings": {"decontaminate": {"ngram_words": 13, "min_words": 8}, "rules": {"web": {"min_characters": 200}}},
        "digests": {"corpus": "abc"},
    }


def cells(text):
    """The cells of every table row, as a reader of Markdown shows them."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    found, row = [], []
    for before, token in pairwise(tokens):
        if token.type == "inline" and before.type in ("td_open", "th_open"):
            row.append("".join(child.content for child in token.children))
        if token.type == "tr_close":
            found.append(row)
            row = []
    return found


def test_every_part_is_there_with_its_numbers(card):
    rows = cells(markdown(card))
    for expected in (
        ["books", "text", "texts (CC0-1.0)", "1990 to 2001-02-03", "2", "300", "90", "25.0%", "1.50"],
        ["MIT", "2", "300"],
        ["en", "2", "300"],
        ["books", "quality", "too_short", "1", "10"],
        ["quiz", "9", "1", "2", "3", "55"],
        ["email", "7", "77"],
        ["corpus", "abc"],
    ):
        assert expected in rows
    assert "GPL-3.0-only 4" in markdown(card)
    assert '"min_characters": 200' in markdown(card)


def test_what_was_not_requested_is_named(card):
    text = markdown({**card, "licences": None, "decontamination": None, "redaction": None})
    for part in (
        "Licences were not detected",
        "corpus.languages is not set",
        "No evaluation set was kept out",
        "Nothing was redacted",
    ):
        assert part in text


def test_declared_licences_are_counted_where_none_is_detected(card):
    text = markdown({**card, "licences": None})
    assert ["MIT", "2", "300"] in cells(text)
    assert "declares" in text
    card["sources"]["books"]["by"]["licence"] = {"unknown": amount()}
    assert ["unknown", "2", "300"] not in cells(markdown({**card, "licences": None}))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_and_is_no_markup(card, name):
    source = {
        **card["sources"]["books"],
        "from": name,
        "by": {mark: {name: amount()} for mark in ("licence", "language", "kind")},
    }
    hostile = {
        **card,
        "name": name,
        "sources": {name: source},
        "started_from": [{"name": name, "kind": "others", "detail": name}, {"name": f"{name}2", "kind": "tuned"}],
        "aligned_on": [{"by": "rewards", "reward": name, "num_examples": 3, "num_held_out": 1, "digest": name}],
        "licences": {"allow": [name], "not_allowed": {name: 1}},
        "settings": {**card["settings"], "name": name},
        "digests": {name: name},
    }
    text = markdown(hostile)
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special", "code_inline", "softbreak"}, kinds
    assert not [token for token in tokens if token.type == "html_block"]
    headings = [token.content for before, token in pairwise(tokens) if before.type == "heading_open"]
    assert len(headings) == 10
    assert {len(row) for row in cells(text)} <= {2, 3, 5, 6, 9}
    assert not re.search(r"https?://|www\.", re.sub("````json.*?````", "", text, flags=re.DOTALL))
    assert not re.search("[\u202a-\u202e\u200b\x00\x1b]", text)


@given(st.text(max_size=150))
def test_a_cell_is_one_cell_and_shows_its_text(name):
    (head, row) = cells(table(["a", "b"], [[name, "end"]]))
    assert (head, row[1]) == (["a", "b"], "end")
    if name.isprintable() and len(name) <= 100 and name == name.strip():
        assert row[0] == name
    assert len(plain(name)) <= 600


def test_the_card_is_json(card):
    assert json.loads(json.dumps(card)) == card


def test_names_of_our_own_are_shown_whole():
    assert plain(f"{BASELINES['xz']}, the same text") == "xz -9e, the same text"
    assert all(plain(words) == words for words in FORMATS.values())
