"""Real documents parted into held-out text, clean by construction, and training text that shares nothing with it.

Held out are whole documents of edited sources (speeches, novels, articles, handbooks, a language's own library), chosen
by a hash of where they come from. A training document that has a run of 13 words in common with one of them is left
out, of both corpora that are compared alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import xxhash

from headwater.config import Settings
from headwater.corpus.document import Document
from headwater.corpus.read.source import read_source
from headwater.sources.rules import RuleSettings
from headwater.sources.settings import CorpusSettings

EDITED = ("novels", "plays", "speeches", "articles", "manuals", "python")
SHARED_WORDS = 13
HELD_OUT_FRACTION = 0.02
MIN_HELD_OUT_CHARACTERS = 1000


def part(settings: CorpusSettings, folder: Path) -> dict[str, dict[str, int]]:
    """Write FOLDER/train/SOURCE.jsonl and FOLDER/held-out.jsonl; return how many documents went where, by source."""
    (folder / "train").mkdir(parents=True)
    held_out = [document for name in EDITED if name in settings.sources for document in _held_out(name, settings)]
    _write(held_out, folder / "held-out.jsonl")
    runs = {run for document in held_out for run in word_runs(document.text)}
    counts = {}
    for name in settings.sources:
        rest = [document for document in _documents(name, settings) if not _is_chosen(document, name)]
        kept = [document for document in rest if runs.isdisjoint(word_runs(document.text))]
        _write(kept, folder / "train" / f"{name}.jsonl")
        counts[name] = {"training": len(kept), "shared": len(rest) - len(kept)}
    for document in held_out:
        counts[document.source]["held_out"] = counts[document.source].get("held_out", 0) + 1
    return counts


def _documents(name: str, settings: CorpusSettings) -> Iterator[Document]:
    return (piece for piece in read_source(name, settings) if isinstance(piece, Document))


def _held_out(name: str, settings: CorpusSettings) -> Iterator[Document]:
    for document in _documents(name, settings):
        if _is_chosen(document, name) and len(document.text) >= MIN_HELD_OUT_CHARACTERS:
            yield document


def _is_chosen(document: Document, name: str) -> bool:
    if name not in EDITED:
        return False
    # of a source that is one file, its sections are chosen, and of others whole files
    key = document.id if name in ("novels", "plays") else document.origin
    key = "/".join(key.split("/")[-2:])  # the same wherever the texts lie
    return xxhash.xxh3_64_intdigest(key.encode()) < HELD_OUT_FRACTION * 2**64


def word_runs(text: str) -> Iterator[int]:
    """Yield a 64-bit number for every run of 13 words, in lower case."""
    words = text.lower().split()
    for at in range(len(words) - SHARED_WORDS + 1):
        yield xxhash.xxh3_64_intdigest(" ".join(words[at : at + SHARED_WORDS]).encode())


def _write(documents: Iterable[Document], path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps({"text": document.text}, ensure_ascii=False) + "\n")


def rules_off() -> RuleSettings:
    """Return rules that drop nothing, whatever rules there are: each limit at what it can't exceed, or off."""
    families = {name: _off(type(getattr(RuleSettings(), name))) for name in RuleSettings.model_fields}
    return RuleSettings.model_validate(families)


def _off(rules: type[Settings]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, field in rules.model_fields.items():
        if not field.is_required() and isinstance(field.default, bool):
            values[name] = False
        elif "None" in str(field.annotation):
            values[name] = None
        elif isinstance(field.default, int | float) and name.startswith("min_"):
            values[name] = 0
    return values
