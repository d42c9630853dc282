"""Build a corpus over one case, and print what happened to its files, the time and the memory it took.

    python -m hostility.build FOLDER OUT     FOLDER holds the case's files; OUT is a folder to be made

prints one JSON object. Two plain files are read beside them, so that there is something to train on and to validate on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from headwater.corpus.build import build_corpus
from headwater.corpus.load import SPLITS, read_documents
from headwater.corpus.shards import read_lines
from headwater.corpus.sources.settings import CorpusSettings
from hostility.case import KEPT

ANCHORS = (
    "Nobody knows how old the bridge over the canyon is, yet every spring the water takes a stone of it along.",
    "An engine of copper stood in the orchard, and the children of the village were told never to touch it at all.",
)


def build_over(folder: Path, out: Path) -> dict[str, Any]:
    """Return the manifest of a corpus over `folder`; building it checks that its account is exact."""
    beside = out.with_name(f"{out.name}-anchors")
    beside.mkdir(parents=True)
    for number, text in enumerate(ANCHORS):
        (beside / f"{number}.txt").write_text(text, encoding="utf-8")
    sources = {"anchors": {"paths": [str(beside)]}, "hostile": {"paths": [str(folder)]}}
    return build_corpus(CorpusSettings.model_validate({"sources": sources}), out, lambda line: None)


def outcomes(manifest: dict[str, Any]) -> Counter[str]:
    """Return how many documents were kept and how many dropped for each reason."""
    sheet = manifest["sources"]["hostile"]
    found = Counter({reason: count["documents"] for reason, count in sheet["dropped"].items()})
    return found + Counter({KEPT: sheet["kept"]["documents"]})


def is_balanced(manifest: dict[str, Any]) -> bool:
    """Return whether read = kept + dropped, in documents and in bytes, counted here once more."""
    sheet = manifest["sources"]["hostile"]
    parts = [sheet["kept"], *sheet["dropped"].values()]
    return all(sheet["read"][unit] == sum(part[unit] for part in parts) for unit in ("documents", "bytes"))


def decisions(out: Path) -> list[tuple[str, str]]:
    """Return (origin, KEPT or the reason for dropping) of every document that the corpus lists."""
    kept = [(document.origin, KEPT) for split in SPLITS for document in read_documents(out, split, "hostile")]
    lines = (json.loads(line)["metadata"] for line in read_lines(out / "dropped" / "hostile"))
    return kept + [(line["origin"], line["reason"]) for line in lines]


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    started_at = time.perf_counter()
    manifest = build_over(folder, out)
    seconds = time.perf_counter() - started_at
    own, child = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    facts = {"outcomes": outcomes(manifest), "balanced": is_balanced(manifest), "seconds": seconds, "cpu_seconds": cpu}
    print(json.dumps(facts | {"peak_bytes": own + child, "pid": os.getpid()}))


if __name__ == "__main__":
    main()
