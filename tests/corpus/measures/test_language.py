from __future__ import annotations

import json

import pytest

from headwater.core.errors import DataError
from headwater.corpus.decide.documents import judged
from headwater.corpus.document import Document
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.load import read_documents
from headwater.corpus.measures import language as language_module
from headwater.corpus.measures.language import NUM_SAMPLES, SAMPLE_CHARACTERS, Language, LanguageModel, samples
from headwater.corpus.sources.settings import CorpusSettings

TEXTS = {
    "en": "The ferry leaves the island twice a day, and whoever misses it has to wait until the next morning.",
    "de": "Die Fähre verlässt die Insel zweimal am Tag, und wer sie verpasst, muss bis zum nächsten Morgen warten.",
    "fr": "Le bac quitte l'île deux fois par jour, et celui qui le manque doit attendre le lendemain matin.",
    "es": "El transbordador sale de la isla dos veces al día y quien lo pierde tiene que esperar hasta mañana.",
    "it": "Il traghetto lascia l'isola due volte al giorno e chi lo perde deve aspettare fino al mattino dopo.",
    "nl": "De veerboot verlaat het eiland twee keer per dag en wie hem mist moet tot de volgende ochtend wachten.",
    "pl": "Prom odpływa z wyspy dwa razy dziennie, a kto się spóźni, musi czekać do następnego ranka.",
    "ru": "Паром уходит с острова два раза в день, и опоздавшему приходится ждать до следующего утра.",
    "ja": "フェリーは一日に二回島を出ます。乗り遅れた人は次の朝まで待たなければなりません。",
    "zh": "渡轮每天两次离开这座岛，错过的人必须等到第二天早上。",
}


@pytest.fixture(scope="module")
def model():
    return LanguageModel()


def verdict(text, languages, kind="documentation", least=0.5):
    document = Document(text, "own", "id", "page", kind, {"language": "claimed"})
    rules = {
        "reference": {"min_characters": 0, "max_mean_word_length": None},
        "code": {"min_characters": 0, "max_mean_line_characters": None},
    }
    (found,) = judged([document], settings(languages=languages, min_language_confidence=least, rules=rules))
    return found


@pytest.mark.parametrize("code", TEXTS)
def test_one_sentence_is_enough_to_know_a_language(model, code):
    found, confidence = model.identify(TEXTS[code])
    assert (found, confidence > 0.5) == (code, True), (found, confidence)
    done = verdict(TEXTS[code], ["en"])
    said = (None, "") if code == "en" else ("other_language", f"{code} with probability {confidence:.2f}, not en")
    assert (done.reason, done.because) == said


def test_what_is_found_out_replaces_what_was_claimed(build, tmp_path):
    lines = [json.dumps({"text": f"{TEXTS['en']} {n} times.", "language": "xx"}) for n in range(12)]
    rules = {"text": {"max_mean_word_length": None}}
    build({"pages.jsonl": "\n".join(lines)}, languages=["en", "de"], dedup={"near": False}, rules=rules)
    found = [d for split in ("train", "validation") for d in read_documents(tmp_path / "corpus", split, "mine")]
    assert [document.meta["language"] for document in found] == ["en"] * 12


def test_a_text_in_two_languages_is_unsure(model):
    text = "\n".join(TEXTS["en"] + "\n" + TEXTS["fr"] for _ in range(3))
    found, confidence = model.identify(text)
    assert found in ("en", "fr")
    unsure = verdict(text, ["en", "fr"], least=0.98)
    assert unsure.reason == "unsure_language", confidence
    assert unsure.because.startswith(f"{found} with probability 0.") and unsure.because.endswith(", 0.98 at least")


def test_a_long_text_is_judged_by_its_beginning_middle_and_end(model):
    german, english = TEXTS["de"] + "\n", TEXTS["en"] + "\n"
    text = english * 20 + german * 400 + english * 20
    parts = samples(text)
    assert [len(part) <= SAMPLE_CHARACTERS for part in parts] == [True] * NUM_SAMPLES
    assert [model.identify(part)[0] for part in parts] == ["en", "de", "en"]
    found, confidence = model.identify(text)
    assert found == "en"
    assert confidence == pytest.approx(2 / 3, abs=0.1)


def test_code_and_the_almanac_are_exempt():
    assert [verdict(TEXTS["de"], ["en"], kind).reason for kind in ("code", "almanac")] == [None, None]


@pytest.mark.parametrize("text", ["", "12 13 14", "\u2028\u2029", "x" * 5000, "\U0010ffff"])
def test_any_text_has_an_answer(model, text):
    found, confidence = model.identify(text)
    assert 0 <= confidence <= 1 and isinstance(found, str)


def test_a_language_that_the_model_does_not_know_is_an_error_that_names_it():
    with pytest.raises(
        DataError, match=r"has english, which the model doesn't know; .* by their ISO 639-1 code, as en, de"
    ):
        Language(["english"])


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(language_module, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install headwater\[corpus\]"):
        LanguageModel()


def settings(**more):
    return CorpusSettings.model_validate({"sources": {"own": {"paths": [__file__]}}, **more})


def test_languages_change_the_key_and_so_does_the_model_which_the_rules_ask_without_them(monkeypatch):
    off, on = settings(), settings(languages=["en"])
    assert corpus_inputs(on)["(language model)"] == corpus_inputs(off)["(language model)"]
    assert corpus_key(on, corpus_inputs(on)) != corpus_key(off, corpus_inputs(off))
    monkeypatch.setattr("headwater.corpus.inputs.model_is_installed", lambda: False)
    assert "(language model)" not in corpus_inputs(off)
