"""The cards of a model and of its data: true of each kind, with their numbers, and no name is markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from golden_rows import rows
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from our_models import hf, model_like

from headwater.core.files import read_json, write_json
from headwater.export.data_card import markdown, plain, table
from headwater.export.hf_card import CardFacts, write_card
from headwater.model.settings import ModelSettings
from headwater.train.checkpoint.origins import Origin

READER = MarkdownIt("commonmark", {"html": True}).enable("table")
SHOWN = {"text", "text_special", "code_inline", "softbreak"}


def kinds_in(text: str) -> set[str]:
    """Return what a reader of Markdown makes of a text besides blocks."""
    return {child.type for token in READER.parse(text) for child in token.children or []}


def cells(text: str) -> list[list[str]]:
    """The cells of every table row, as a reader of Markdown shows them."""
    found, row = [], []
    for before, token in pairwise(READER.parse(text)):
        if token.type == "inline" and before.type in ("td_open", "th_open"):
            row.append("".join(child.content for child in token.children))
        if token.type == "tr_close":
            found.append(row)
            row = []
    return found


# ---- the model card: what a model was made of → what is said of it, and what isn't

MODEL = ModelSettings(vocab_size=9, num_layers=1, d_model=8, d_ff=8, num_heads=1, num_kv_heads=1, head_dim=8, seq_len=8)
BASE = Origin("own", "scratch", 4_096_000)
INSTRUCT = Origin("Theirs-Instruct", "others", detail="apache-2.0, as its README.md says", answers=True)
PLAIN = Origin("Theirs", "others")
MORE = Origin("more", "continued", 20_480)
TUNED = Origin("tuned", "tuned", 122_880, 195)
REWARDED = Origin("rl", "rewards", None, 160, "exact")
PREFERRED = Origin("dpo", "preferences", None, 159)
UNTAUGHT = "It was not trained to follow instructions or to refuse anything."
PRE_TRAINED, ANSWERS = "A base model pre-trained with headwater", "It answers messages"

KINDS = {
    "pre-trained here": ([BASE], [PRE_TRAINED, UNTAUGHT, "4,096,000"], ["base_model", ANSWERS]),
    "pre-trained here, conversations among its text": (
        [replace(BASE, num_examples=3)],
        [PRE_TRAINED, ANSWERS, "3 conversations among its text"],
        ["base_model", UNTAUGHT],
    ),
    "continued from an own run": (
        [BASE, MORE],
        ["trained on more text with headwater", UNTAUGHT, "| own | pre-trained from random weights | 4,096,000 |", "20,480"],
        [PRE_TRAINED, "made elsewhere"],
    ),
    "continued from others' base": (
        [PLAIN, MORE],
        ["Nothing here trained it to follow", "| Theirs | made by others | not counted here |", "unknown: ask its makers"],
        [PRE_TRAINED, UNTAUGHT, "pre-trained from random"],
    ),
    "continued from others' instruct model": (
        [INSTRUCT, MORE],
        ["Theirs-Instruct, which it was made of, answers messages", "Licence of it: apache-2.0, as its README.md says."],
        [PRE_TRAINED, UNTAUGHT, ANSWERS, "unknown: ask"],
    ),
    "tuned": (
        [BASE, TUNED],
        ["tuned on conversations with headwater", ANSWERS, "tuned on 195 conversations | 122,880"],
        [PRE_TRAINED, UNTAUGHT, "It continues text", "made elsewhere"],
    ),
    "tuned from others' instruct model": (
        [INSTRUCT, TUNED],
        [ANSWERS, "Its chat template is not that of Theirs-Instruct", "apache-2.0"],
        [PRE_TRAINED, UNTAUGHT, "It continues text"],
    ),
    "tuned, then continued on plain text": (
        [BASE, TUNED, MORE],
        ["It continues text. tuned, which it was made of, answers messages; this run trained on none"],
        [UNTAUGHT, ANSWERS],
    ),
    "aligned by rewards": (
        [BASE, TUNED, REWARDED],
        ["aligned by rewards with headwater", ANSWERS, "aligned by rewards (exact) for answers to 160 prompts"],
        [PRE_TRAINED, UNTAUGHT, "DPO"],
    ),
    "aligned by rewards, never tuned": ([BASE, REWARDED], ["It continues text", "Answers that a reward"], [ANSWERS]),
    "others', continued, tuned, aligned by preferences": (
        [PLAIN, MORE, TUNED, PREFERRED],
        ["aligned by preferences with headwater", "by DPO", "159 pairs", "| Theirs |", "| more |", "| tuned |", "unknown: ask"],
        [PRE_TRAINED, UNTAUGHT, "reward"],
    ),
    "tuned as it was pre-trained, then continued on plain text": (
        [replace(BASE, num_examples=3), MORE],
        ["It continues text. own, which it was made of, answers messages; this run trained on none"],
        [UNTAUGHT, ANSWERS],
    ),
    "continued from a model of an older headwater": (
        [Origin("old", "unknown"), MORE],
        ["What old, which it was made of, was trained for was not recorded"],
        [UNTAUGHT, ANSWERS, PRE_TRAINED],
    ),
    "of an older headwater": ([Origin("old", "unknown")], ["was not recorded"], [PRE_TRAINED, UNTAUGHT, ANSWERS]),
}  # fmt: skip


def card_of(origins, **more) -> str:
    """Write a card; its example asks for an answer where the model, but for alignment, was tuned last."""
    done = [each for each in origins if each.kind not in ("rewards", "preferences")][-1]
    with TemporaryDirectory() as folder:
        write_json(Path(folder, "config.json"), {"dtype": "float32"})
        is_tuned = done.num_examples > 0
        write_card(Path(folder), MODEL, CardFacts(tuple(origins), **more), "- its tokenizer\n", is_tuned)
        return Path(folder, "README.md").read_text(encoding="utf-8")


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_true_of_its_kind_of_model(kind):
    origins, said, unsaid = KINDS[kind]
    card = card_of(origins)
    assert not [words for words in said if words not in card], card
    assert not [words for words in unsaid if words in card], card
    assert head_of(card).get("base_model", []) == [each.name for each in reversed(origins[:-1])]
    assert ("apply_chat_template" in card) == (ANSWERS in card)


@given(st.lists(st.text(min_size=1, max_size=40), min_size=5, max_size=5))
@example(["a\n---\nlicense: mit", '"]\n- evil: x', "# T\n\n[x](javascript:1)", "<script>", "| a | b"])
@example(["\x85\u2028\ud800", "🙂", "\\", "`` ` ```", "http://evil.org"])
def test_no_name_is_markup_of_the_page_or_of_its_head(names):
    licence, *rest = names
    chain = [INSTRUCT, MORE, TUNED, REWARDED]
    hostile = [replace(each, name=name, detail=licence) for each, name in zip(chain, rest, strict=True)]
    text = card_of(hostile, facts={names[0]: names[1]}, changes=[(names[2], names[3], names[4])])
    plain = card_of(chain, facts={"a": "b"}, changes=[("a", "b", "c")])
    page, expected = (READER.parse(each.split("\n---\n", 1)[1]) for each in (text, plain))
    assert [token.type for token in page] == [token.type for token in expected], text
    assert kinds_in(text.split("\n---\n", 1)[1]) <= SHOWN | {"link_open", "link_close"}, text
    assert "://evil" not in text
    head = head_of(text)
    assert set(head) == set(head_of(plain))
    wanted = [name.encode(errors="replace").decode() for name in reversed(rest[:-1])]
    assert head["base_model"] == list(dict.fromkeys(wanted)), text


# ---- the data card


def amount(documents=2, num_bytes=300):
    return {"documents": documents, "bytes": num_bytes}


def data_card(**changes: Any) -> dict[str, Any]:
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
    card = {
        "name": "mine",
        "sources": {"books": source},
        "licences": {"allow": ["permissive"], "not_allowed": {"GPL-3.0-only": 4}},
        "decontamination": {"quiz": {"items": 9, "too_short": 1, "found": 2, "documents": 3, "bytes": 55}},
        "redaction": {"email": {"replaced": 7, "bytes": 77}},
        "settings": {"decontaminate": {"ngram_words": 13, "min_words": 8}, "rules": {"web": {"min_characters": 200}}},
        "digests": {"corpus": "abc"},
    }
    return json.loads(json.dumps(card | changes))


OFF = {"licences": None, "decontamination": None, "redaction": None}
ROWS: dict[str, tuple[dict[str, Any], list[list[str]], list[str]]] = {  # what is changed: the rows, and the words
    "nothing": ({}, [
        ["books", "text", "texts (CC0-1.0)", "1990 to 2001-02-03", "2", "300", "90", "25.0%", "1.50"],
        ["MIT", "2", "300"], ["en", "2", "300"], ["books", "quality", "too_short", "1", "10"],
        ["quiz", "9", "1", "2", "3", "55"], ["email", "7", "77"], ["corpus", "abc"],
    ], ["GPL-3.0-only 4", '"min_characters": 200', "The other 75.0% are text of a model before it"]),
    "what was not requested": (OFF, [["MIT", "2", "300"]], [
        "Licences were not detected", "declares", "corpus.languages is not set", "No evaluation set was kept out",
        "Nothing was redacted",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_a_data_card_has_every_part_with_its_numbers(what):
    changes, rows, words = ROWS[what]
    text = markdown(data_card(**changes))
    assert [row for row in rows if row not in cells(text)] == []
    assert [each for each in words if each not in text] == []


@pytest.mark.parametrize("name", rows("a_hostile_name_of_the_data_is_shown_and_is_no_markup"))
def test_a_hostile_name_of_the_data_is_shown_and_is_no_markup(name):
    card = data_card()
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
    tokens = READER.parse(text)
    assert kinds_in(text) <= SHOWN
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


def test_both_cards_are_exported_and_the_models_names_that_of_its_data(tokenizer_dir, tmp_path):
    scores = {"this model, held-out real text": 1.39, "a 5-gram model, the same real text": 1.35134}
    with_one = hf(model_like("llama"), tokenizer_dir, tmp_path / "with", data_card=data_card(),
                  card=CardFacts(facts={"tokens seen": 3_000_000}, scores=scores))  # fmt: skip
    without = hf(model_like("llama"), tokenizer_dir, tmp_path / "without")
    assert read_json(with_one / "data_card.json") == data_card()
    assert "| corpus | abc |" in (with_one / "DATA_CARD.md").read_text()
    card = (with_one / "README.md").read_text()
    assert "(DATA_CARD.md)" in card and "| tokens seen | 3,000,000 |" in card
    assert "| this model, held-out real text | 1.390 |" in card
    assert "| a 5-gram model, the same real text | 1.351 |" in card
    assert {"DATA_CARD.md", "data_card.json"} <= set(read_json(with_one / "manifest.json")["files"])
    assert "DATA_CARD" not in (without / "README.md").read_text()
