"""How often the language of translated documentation is named rightly, by language.

    python benchmarks/corpus/languages.py FOLDER [--snippet 300] [--json]

FOLDER holds unpacked Debian packages, each under its name (`apt-get download NAME`, `dpkg-deb -x FILE FOLDER/NAME`):
installation-guide-amd64, and those of debian-faq-XX, debian-reference-XX and aptitude-doc-XX that are wanted. A page's
language is the folder or package it lies in. Translations hold pages that nobody translated yet (the GPL, new
sections): each page named otherwise is printed, to be read. With --snippet, only so many characters from a page's
middle are shown to the model.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

from headwater.corpus.clean import clean
from headwater.corpus.document import Document
from headwater.corpus.quality.language import LanguageModel
from headwater.corpus.read.source import read_source
from headwater.corpus.settings import CorpusSettings

PAGES_A_LANGUAGE = 100
MIN_CHARACTERS = 300
_PACKAGE = re.compile(r"(?:debian-faq|debian-reference|aptitude-doc)-([a-z]{2})(?:-[a-z]{2})?$")


def folders(top: Path) -> dict[str, list[Path]]:
    """Return the folders of each language."""
    found: dict[str, list[Path]] = {}
    for package in sorted(top.iterdir()):
        if match := _PACKAGE.fullmatch(package.name):
            found.setdefault(match[1], []).append(package)
        if package.name == "installation-guide-amd64":
            for place in sorted((package / "usr/share/doc/installation-guide-amd64").iterdir()):
                if place.is_dir():
                    found.setdefault(place.name.partition("_")[0], []).append(place)
    return found


def pages(places: list[Path]) -> Iterator[str]:
    paths = [str(path) for place in places for path in sorted(place.rglob("*.html")) if path.stat().st_size < 150_000]
    settings = CorpusSettings.model_validate({"sources": {"pages": {"kind": "web", "paths": paths}}})
    count = 0
    for piece in read_source("pages", settings):
        text = clean(piece.text, "web") if isinstance(piece, Document) else ""
        if len(text) >= MIN_CHARACTERS and count < PAGES_A_LANGUAGE:
            count += 1
            yield text


def measure(top: Path, snippet: int | None) -> dict[str, Any]:
    model = LanguageModel()
    rows: dict[str, dict[str, int]] = {}
    others: list[dict[str, Any]] = []
    seconds, num_bytes = 0.0, 0
    for language, places in folders(top).items():
        counts: Counter[str] = Counter()
        for text in pages(places):
            shown = text if snippet is None else text[len(text) // 2 :][:snippet]
            started_at = process_time()
            found, confidence = model.identify(shown)
            seconds += process_time() - started_at
            num_bytes += len(shown.encode())
            counts["pages"] += 1
            counts["right"] += found == language
            counts["unsure"] += confidence < 0.5
            if found != language:
                middle = shown[len(shown) // 2 :][:90]
                others.append({"is": language, "named": found, "confidence": round(confidence, 2), "middle": middle})
        rows[language] = dict(counts)
    return {"rows": rows, "named otherwise": others, "megabytes_per_second": num_bytes / 1e6 / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--snippet", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.folder, options.snippet)
    if options.json:
        print(json.dumps(result, indent=1, ensure_ascii=False))
        return
    for language, row in sorted(result["rows"].items()):
        print(f"{language}  {row['right']:>4} of {row['pages']:>4} right, {row['unsure']} unsure")
    right, total = (sum(row[name] for row in result["rows"].values()) for name in ("right", "pages"))
    print(f"{right} of {total} named as their folder says; {result['megabytes_per_second']:.0f} MB/s")
    for page in result["named otherwise"]:
        print(f"  {page['is']} named {page['named']} ({page['confidence']}): {page['middle']!r}")


if __name__ == "__main__":
    main()
