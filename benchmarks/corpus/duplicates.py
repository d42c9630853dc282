"""Measure which near duplicates are found: planted ones of many kinds among real documents, the truth known exactly.

    headwater corpus fetch standard
    python benchmarks/corpus/duplicates.py --peers-python VENV/bin/python

A document is a duplicate when an earlier one has a Jaccard similarity of 0.8 or more (sets of five-word shingles; all
pairs are computed, also those between real documents). Recall: dropped duplicates, of all duplicates. Precision:
dropped documents that are duplicates, of all dropped. `datasketch` and `rensa` have the same shingles, bands and rows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from headwater.core.errors import HeadwaterError
from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.read.sections import sections
from headwater.corpus.sources.settings import CorpusSettings
from planting import CHANGES, plant
from processes import run_measured
from real_documents import documents
from reporting import add_output_options, facts, made, markdown_table, publish, say
from similar_pairs import earlier_similar, jaccard, shingle_set

SIMILARITY = 0.8
SECTION_CHARACTERS, MIN_CHARACTERS = 4000, 600
PEERS = ("datasketch", "rensa")
FIRST_LINE = 1  # of a file, in the ids of its documents

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """The documents in order; of a planted one its kind and the number of the document it was made from."""

    texts: list[str]
    kinds: dict[int, str]
    origins: dict[int, int]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=Path("texts"), help="what `headwater corpus fetch standard` made")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=200, help="planted copies of each kind (200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    add_output_options(parser)
    return parser.parse_args()


def real_texts(texts: Path, count: int) -> list[str]:
    """Return passages of real documents, a page or so each."""
    found: list[str] = []
    for document in documents(texts):
        found += [part for part in sections([document.text], SECTION_CHARACTERS) if len(part) >= MIN_CHARACTERS]
        if len(found) >= count:
            return found[:count]
    return found


def make_case(texts: list[str], copies: int, seed: int) -> Case:
    """Return the texts with planted copies among them, all in an order of chance."""
    planted = list(plant(texts, min(copies, len(texts) // len(CHANGES)), seed))
    everything = [*texts, *(each.text for each in planted)]
    order = list(range(len(everything)))
    random.Random(seed).shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    kinds, origins = {}, {}
    for at, each in enumerate(planted):
        number = place[len(texts) + at]
        kinds[number], origins[number] = each.kind, place[each.of]
    return Case([everything[old] for old in order], kinds, origins)


def dropped_by_headwater(case: Case, work: Path) -> set[int]:
    path = work / "texts.jsonl"
    _write(case.texts, path)
    table = {
        # a kind without rules: what is dropped here is dropped as a copy
        "sources": {"texts": {"kind": "almanac", "paths": [str(path)]}},
        "dedup": {"near_exempt_kinds": [], "min_similarity": SIMILARITY},
        "engine": {"workers": 1},
    }
    build_corpus(CorpusSettings.model_validate(table), work / "corpus", lambda line: None)
    kept = set()
    for split in ("train", "validation"):
        kept |= {_line(document.id) for document in read_documents(work / "corpus", split, "texts")}
    return set(range(len(case.texts))) - kept


def _line(document_id: str) -> int:
    """Return the number of the line that a document was read from: its id is FILE#LINE."""
    return int(document_id.rsplit("#", 1)[1].split("/")[0]) - FIRST_LINE


def _write(texts: list[str], path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def dropped_by_peers(case: Case, arguments: argparse.Namespace, work: Path) -> Iterator[tuple[str, set[int]]]:
    path, program = work / "peers.jsonl", Path(__file__).parent / "chains" / "similar.py"
    _write(case.texts, path)
    for name in PEERS:
        out = work / f"{name}.json"
        usage = run_measured([arguments.peers_python, str(program), name, str(path), str(out)], {})
        if usage.status:
            say(f"{name} is missing: {usage.tail.strip().splitlines()[-1:]}")
            continue
        yield name, set(json.loads(out.read_text(encoding="utf-8"))["dropped"])


def measure(arguments: argparse.Namespace, work: Path) -> Figures:
    case = make_case(real_texts(arguments.texts, arguments.documents), arguments.copies, arguments.seed)
    say(f"{len(case.texts):,} documents, {len(case.kinds):,} of them planted; all similar pairs are looked for")
    sets = [shingle_set(text) for text in case.texts]
    truth = set(earlier_similar(sets, SIMILARITY))
    finders = {"headwater": dropped_by_headwater(case, work), **dict(dropped_by_peers(case, arguments, work))}
    pairs = {number: jaccard(sets[number], sets[origin]) for number, origin in case.origins.items()}
    return {
        "documents": len(case.texts),
        "planted": len(case.kinds),
        "duplicates": len(truth),
        "finders": {name: _score(dropped, truth) for name, dropped in finders.items()},
        "kinds": {kind: _kind(kind, case, pairs, truth, finders) for kind in CHANGES},
        "made": facts(),
    }


def _score(dropped: set[int], truth: set[int]) -> Figures:
    right = len(dropped & truth)
    return {"dropped": len(dropped), "recall": right / max(len(truth), 1), "precision": right / max(len(dropped), 1)}


def _kind(kind: str, case: Case, pairs: dict[int, float], truth: set[int], finders: dict[str, set[int]]) -> Figures:
    """Return the scores for the planted pairs of a kind: of each pair the later one is the copy."""
    later = {number: max(number, case.origins[number]) for number, its in case.kinds.items() if its == kind}
    similar = {later[number] for number in later if pairs[number] >= SIMILARITY}
    return {
        "planted": len(later),
        "mean_similarity": fmean(pairs[number] for number in later),
        "duplicates": len(similar),
        "recall": {name: len(similar & dropped) / len(similar) for name, dropped in finders.items() if similar},
    }


def section(figures: Figures) -> str:
    names = list(figures["finders"])
    overall = [
        [name, found["dropped"], f"{found['recall']:.4f}", f"{found['precision']:.4f}"]
        for name, found in figures["finders"].items()
    ]
    kinds = [
        [kind, found["planted"], f"{found['mean_similarity']:.2f}", found["duplicates"]]
        + [f"{found['recall'][name]:.3f}" if name in found["recall"] else "" for name in names]
        for kind, found in figures["kinds"].items()
    ]
    found_by = [f"found by {name}" for name in names]
    return "\n\n".join(
        [
            f"{figures['documents']:,} documents, {figures['planted']:,} planted; {figures['duplicates']:,} have an "
            f"earlier one of similarity {SIMILARITY} or more.",
            markdown_table(["by", "dropped", "recall", "precision"], overall),
            markdown_table(["planted copies", "number", "mean similarity", "duplicates", *found_by], kinds),
            made(figures["made"]),
        ]
    )


def main() -> int:
    arguments = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="headwater-duplicates-", dir=arguments.work) as folder:
            figures = measure(arguments, Path(folder))
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    publish(figures, section(figures), arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
