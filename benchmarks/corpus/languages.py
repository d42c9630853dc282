"""Makes the limits of the quality rules by language from text known to be good.

    python benchmarks/corpus/languages.py GOOD.jsonl --held-out gl,ms > src/headwater/corpus/measures/by_language.toml

GOOD.jsonl has one document a line: language (as lid.176 names it), source, id and text; of translations the id is the
original's. docs/log.md (2026-11-28) says which packages hold such texts. Half of the ids, by their digest, make limits;
the other half is kept to judge them on.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any
from unicodedata import category

import numpy as np
import xxhash

from headwater.corpus.clean import clean
from headwater.corpus.measures.by_language import stop_word_share
from headwater.corpus.measures.language import LanguageModel
from headwater.corpus.measures.lines import line_shapes, meant_lines, stripped_lines
from headwater.corpus.scripts import is_unspaced, marks_sentences, num_sentences, words_of
from headwater.corpus.sources.rules import RuleSettings

MIN_DOCUMENTS = 4  # of a language, to make limits of
MAX_CHARACTERS = 5900  # longer ones were cut, so their lengths can't be compared
HEAD = """\
# Made by benchmarks/corpus/languages.py; English's stop words are Gopher's. Lengths are multiples of English's: how
# many characters and words the same text has, and how long a word is, as medians. The first two rows are for languages
# without one: percentile 2 of the others (and 98 of word_length).
"""
NUM_STOP_WORDS = (8, 40)
MIN_TAKEN, MIN_CONFIDENCE = 10, 0.7  # texts that the model takes for another language, and from where it is believed
GOPHERS = ["the", "be", "to", "of", "and", "that", "have", "with"]
Text = dict[str, Any]


def read(file: Path) -> dict[str, list[Text]]:
    texts: dict[str, list[Text]] = defaultdict(list)
    for line in file.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        text = json.loads(line)
        texts[text["language"]].append(text | {"text": clean(text["text"], "text")})  # as the chain does it first
    return texts


def is_judged(text: Text) -> bool:
    return xxhash.xxh3_64_intdigest(f"{text['source']}/{text['id']}".encode()) % 2 == 0


def word_length(text: str) -> float:
    words = words_of(text)
    return sum(map(len, words)) / len(words)


def limits_of(texts: list[Text], originals: dict[tuple[str, str], str], english: float) -> dict[str, Any] | None:
    """Return a language's row: lengths as multiples of English's, and its stop words."""
    pairs = [
        (text["text"], originals[key])
        for text in texts
        if (key := (text["source"], text["id"])) in originals
        and max(len(text["text"]), len(originals[key])) < MAX_CHARACTERS
    ]
    if len(pairs) < MIN_DOCUMENTS:
        return None
    ratio = median(len(text) / len(original) for text, original in pairs)
    words = median(len(words_of(text)) / len(words_of(original)) for text, original in pairs)
    length = median(word_length(text["text"]) for text in texts) / english
    row: dict[str, Any] = {"characters": round(ratio, 2), "words": round(words, 2), "word_length": round(length, 2)}
    unfinished = sum(is_unfinished(text["text"]) for text in texts)
    if unfinished > max(1, 0.05 * len(texts)):
        row["sentences"] = False
    if stop_words := find_stop_words(texts):
        row["stop_words"] = stop_words
        if not any(marks_sentences(text["text"]) for text in texts):
            shares = [stop_word_share(text["text"], stop_words) for text in texts]
            row["stop_word_share"] = round(0.9 * min(shares), 3)
    return row


def is_unfinished(text: str) -> bool:
    """Return whether the default web rules want more signs at the end of sentences, in a script that has them."""
    rules, shapes = RuleSettings().web, line_shapes(meant_lines(stripped_lines(text)), 30)
    is_short = shapes.sentence_characters < (rules.min_sentence_fraction or 0) * shapes.characters
    return marks_sentences(text) and (is_short or num_sentences(text, 3) < 3)


def find_stop_words(texts: list[Text]) -> list[str]:
    """Return words that are frequent in each of several sources: so many that nearly every text has two of them."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        by_source[text["source"]].append(text["text"])
    sources = [found for found in by_source.values() if len(found) > 1 or len(texts) < 20]
    if len(sources) < 2:
        return []
    counts = [Counter(word for text in source for word in terms(text)) for source in sources]
    frequency = {word: min(count[word] / count.total() for count in counts) for word in counts[0]}
    ordered = sorted((word for word in frequency if frequency[word]), key=lambda word: (-frequency[word], word))
    held = [text["text"] if is_unspaced(text["text"]) else set(words_of(text["text"])) for text in texts]
    bad_text = 1 / len(texts)  # glued or in another language
    for least in (2,) if len(texts) >= 100 else (4, 3):  # a margin where few texts are known
        chosen: list[str] = []
        for word in ordered:
            if not any(word in other or other in word for other in chosen if is_unspaced(word)):
                chosen.append(word)
            if len(chosen) >= NUM_STOP_WORDS[0] and lacking(held, chosen, least) <= max(0.003, bad_text):
                return chosen
            if len(chosen) == NUM_STOP_WORDS[1]:
                break
        if chosen and lacking(held, chosen, least) <= max(0.01, bad_text):
            return chosen
    return []


def terms(text: str) -> Iterable[str]:
    """Return the words of letters alone; in an unspaced script runs of one to four units, three letters or one Han."""
    words = words_of(text)
    if is_unspaced(text):
        runs = ("".join(words[at : at + n]) for n in (1, 2, 3, 4) for at in range(len(words) - n + 1))
        words = [run for run in runs if ord(run[0]) > 0x2E80 or len(run) > 2]
    return (word for word in words if all(category(c)[0] in "LM" for c in word))


def lacking(held: list[str | set[str]], stop_words: list[str], least: int) -> float:
    """Return the share of texts, each as its words or as it is, that have fewer than `least` of the stop words."""
    return sum(sum(word in text for word in stop_words) < least for text in held) / len(held)


def make(texts: dict[str, list[Text]], held_out: set[str]) -> None:
    original = texts["en"]
    originals = {(text["source"], text["id"]): text["text"] for text in original}
    english = median(word_length(text["text"]) for text in original)
    rows = {}
    for language in sorted(texts.keys() - held_out):
        if row := limits_of([text for text in texts[language] if not is_judged(text)], originals, english):
            rows[language] = row
    rows["en"]["stop_words"] = GOPHERS
    print(HEAD)
    for name, is_of in (("default", False), ("unspaced", True)):
        group = [row for language, row in rows.items() if is_unspaced(texts[language][0]["text"]) == is_of]
        low = {key: round(float(np.percentile([row[key] for row in group], 2)), 2) for key in ("characters", "words")}
        lengths = np.percentile([row["word_length"] for row in group], (2, 98))
        show(name, low | {"word_length": [round(float(length), 2) for length in lengths]})
    model = LanguageModel()
    taken = taken_for_others(texts, rows, model)
    for language, row in rows.items():
        if "stop_words" in row and taken[language] >= MIN_TAKEN:
            row["relatives"] = True
        if "stop_words" in row or language in model.languages:  # else no text would be found to be in it
            show(language, row)


def taken_for_others(texts: dict[str, list[Text]], rows: dict[str, Any], model: LanguageModel) -> Counter[str]:
    """Return how many texts in other languages, without two stop words of it, the model takes for each language."""
    taken: Counter[str] = Counter()
    for own, given in texts.items():
        for text in given:
            named, confidence = ("", 0.0) if is_judged(text) else model.identify(text["text"])
            if named != own and confidence >= MIN_CONFIDENCE and (stop_words := rows.get(named, {}).get("stop_words")):
                held: Any = text["text"] if is_unspaced(text["text"]) else set(words_of(text["text"]))
                taken[named] += sum(word in held for word in stop_words) < 2
    return taken


def show(name: str, row: dict[str, Any]) -> None:
    print(
        f"{name} = {{",
        ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in row.items()),
        "}",
        sep="",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("good", type=Path)
    parser.add_argument("--held-out", default="", help="languages for which no row is made, with commas")
    given = parser.parse_args()
    make(read(given.good), set(given.held_out.split(",")))


if __name__ == "__main__":
    main()
