"""Real documents to measure on: those of the recipe standard, in turn from each of its sources, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from headwater.corpus.document import Document
from headwater.corpus.read.source import read_source
from headwater.corpus.samples.files import with_files
from headwater.runfile.run_config import load_run

PROSE = ("speeches", "articles", "websites", "manuals", "dictionaries", "novels", "commentaries")
MIN_CHARACTERS = 500


def documents(texts: Path, sources: Iterable[str] = PROSE) -> Iterator[Document]:
    """Yield documents in turn from each source, until all are empty; DataError says how to fetch the texts."""
    config, _ = load_run("standard", [f"corpus.fetched_dir={json.dumps(str(texts))}"])
    settings = with_files(config.corpus)
    streams = [_usable(read_source(name, settings)) for name in sources]
    while streams:
        ended = []
        for stream in streams:
            document = next(stream, None)
            if document is None:
                ended.append(stream)
            else:
                yield document
        streams = [stream for stream in streams if stream not in ended]


def _usable(pieces: Iterable[object]) -> Iterator[Document]:
    return (piece for piece in pieces if isinstance(piece, Document) and len(piece.text) >= MIN_CHARACTERS)


def write_documents(found: Iterable[Document], path: Path, max_bytes: int) -> tuple[int, int]:
    """Write documents as JSON lines until they hold `max_bytes` of text; return how many and how much."""
    count = total = 0
    with open(path, "w", encoding="utf-8") as file:
        for document in found:
            line = {"id": f"{document.source}/{document.id}", "text": document.text, "metadata": {}}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count, total = count + 1, total + len(document.text.encode())
            if total >= max_bytes:
                break
    return count, total
