"""Which texts the rules of quality keep or drop, and for what: a table of texts (cases.jsonl), and text in many languages.

A line of cases.jsonl is a text (`times` over), its kind and what its page says of its language, the rules that differ,
and the reason for which it is dropped, null where it is kept. `lengths_alone`: without stop words, of which prose made of nouns
at random has none.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
import unicodedata
from pathlib import Path

import pytest

from headwater.corpus.decide.documents import judged
from headwater.corpus.document import Document
from headwater.corpus.measures.by_language import LimitsByText, read_limits
from headwater.corpus.measures.statistics import Letters
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import Candidate, too_little, too_much
from headwater.corpus.words import WordHasher

FOLDER = Path(__file__).parent
CASES = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
DECLARATION = tomllib.loads(unicodedata.normalize("NFC", (FOLDER / "declaration.toml").read_text(encoding="utf-8")))
SHOP = tomllib.loads((FOLDER / "shop.toml").read_text(encoding="utf-8"))


def settings_of(rules=None):
    return CorpusSettings.model_validate({"sources": {"s": {"paths": ["x"]}}, "rules": rules or {}})


def verdict(text, kind="web", rules=None, origin="page", **meta):
    (found,) = judged([Document(text, "s", "1", origin, kind, meta)], settings_of(rules))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_text_is_kept_or_dropped_for_what_is_wrong_with_it(case):
    text, kind, rules = case["text"] * case.get("times", 1), case.get("kind", "web"), case.get("rules") or {}
    if case.get("lengths_alone"):
        rules = {**rules, "web": {"min_stop_words": None, **rules.get("web", {})}}
    for language in case.get("languages", [None]):
        meta = {} if language is None else {"language": language}
        found = verdict(text, kind, rules, case.get("origin", "page"), **meta)
        assert found.reason == case["reason"], found.because
        assert found.because.endswith(case.get("because", "")) and (found.reason or not found.because)


PROSE_KINDS = ("web", "books", "speeches", "articles", "documentation", "text")


def test_ordinary_prose_passes_every_kind(make_prose):
    for kind in (*PROSE_KINDS, "almanac"):
        assert verdict(make_prose(400), kind, {"web": {"min_stop_words": None}}).reason is None, kind


def test_the_declaration_of_human_rights_passes_every_kind_in_every_language():
    texts = [
        Document(text, "s", language, "page", kind, {"language": "en"})
        for language, text in DECLARATION.items()
        for kind in PROSE_KINDS
    ]
    found = {(each.id, each.kind): said.reason for each, said in zip(texts, judged(texts, settings_of()), strict=True)}
    assert len(found) == len(texts)
    assert {place: reason for place, reason in found.items() if reason} == {}


@pytest.mark.parametrize("language", ["ar", "de", "en", "hi", "ru"])
def test_prose_needs_no_full_stops_and_a_list_of_its_pieces_does(language):
    prose = re.sub(r"[.!?؟।।]+", "", DECLARATION[language])
    assert verdict(prose).reason is None
    words = prose.split()
    pieces = "\n\n".join(" ".join(words[at : at + 7]) for at in range(0, len(words), 8))
    assert verdict(pieces).reason == "few_sentences"


@pytest.mark.parametrize("language", SHOP)
@pytest.mark.parametrize("separator", [", ", " | ", " » ", " - ", " "], ids=["comma", "bar", "menu", "dash", "space"])
def test_keywords_and_menus_with_stop_words_are_no_prose(language, separator):
    dice, nouns, phrases = (
        random.Random(language),
        SHOP[language]["nouns"].split(),
        SHOP[language]["phrases"].split("|"),
    )
    made = (dice.choice(phrases).format(*dice.sample(nouns, 3)) for _ in range(120))
    assert verdict(separator.join(made)).reason is not None


@pytest.mark.parametrize("separator", [", ", " | ", " · ", "\t"], ids=["comma", "bar", "dot", "tab"])
def test_lines_as_long_as_a_sentence_of_short_pieces_are_no_prose(separator):
    words = re.sub(r"[.,;]", "", DECLARATION["en"]).split()
    pieces = [" ".join(words[at : at + 5]) for at in range(0, len(words), 7)]
    lines = (separator.join(pieces[at : at + 6]) for at in range(0, len(pieces), 6))
    assert verdict("\n\n".join(lines)).reason == "few_sentences"


def test_limits_follow_the_text_whatever_its_metadata_say():
    find_limits, rows = LimitsByText(), read_limits()
    for language in ("de", "en", "fr", "hi", "ja", "tr", "zh"):
        document = Document(DECLARATION[language], "pages", "1", "page", "web", {"language": "sw"})
        assert find_limits(Candidate(document, WordHasher())) == rows[language], language


def test_rows_say_how_a_language_differs_from_english():
    rows = read_limits()
    assert (rows["en"].characters, rows["en"].words, rows["en"].word_length) == (1, 1, 1)
    assert rows["zh"].characters < 0.5 < rows["ko"].characters < 0.7 < rows["de"].characters
    assert rows["ml"].word_lengths[0] > 1.5 and rows["ko"].word_lengths[0] < 0.8
    spaced = [row for name, row in rows.items() if name != "default" and row.word_lengths[0] > 0.6]
    for value in (lambda row: row.characters, lambda row: row.words, lambda row: row.word_lengths[0]):
        assert sum(value(row) < value(rows["default"]) for row in spaced) <= 0.05 * len(spaced)


def test_notices_are_cut_and_counted_and_sentences_about_them_stay(make_prose):
    about = (
        "A site that tracks its readers has to ask, and so " + "it says that this site uses cookies " * 5 + "to them."
    )
    notices = "This site uses cookies. Accept?\nPlease enable JavaScript."
    text = make_prose(200) + "\n" + notices.replace("\n", f"\n\n{about}\n")
    done = verdict(text, rules={"web": {"min_stop_words": None}})
    assert done.reason is None
    assert done.document.text == make_prose(200) + "\n\n" + about
    assert [(cut.reason, cut.excerpt, cut.num_bytes) for cut in done.cuts] == [("site_notice", notices, len(notices))]
    assert verdict(text, "books").cuts == ()


def test_fractions_by_hand():
    assert Letters.of("ab 12\n").fraction == 0.5
    for text in ("Grüße aus Köln, Straße für Straße, schöne Bäume überall im Wald. ", "Река течёт с гор. "):
        assert Letters.of(text).fraction > 0.8
    assert Letters.of("one 2 3rd -- vier!").words == 3


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [
        (2, 5, "words: 2, 5 at least"),
        (1999, 2000, "words: 1,999, 2,000 at least"),
        (0.3141, 0.5, "words: 0.31, 0.5 at least"),
        # with as many digits as tell it from its limit
        (0.49999, 0.5, "words: 0.49999, 0.5 at least"),
        (2.5, 3.0, "words: 2.5, 3 at least"),
    ],
)
def test_a_broken_rule_says_the_value_and_the_limit(value, limit, said):
    assert f"words: {too_little(value, limit)}" == said
    assert too_much(value, limit) == said[7:].replace("least", "most")
