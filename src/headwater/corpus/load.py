"""Reads a corpus folder: its manifest, its sources and their documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.corpus.document import Document
from headwater.corpus.shards import FORMAT, FORMAT_VERSION, parse_document, read_lines
from headwater.errors import DataError
from headwater.files import digest_file, read_manifest

SPLITS = ("train", "validation")


def read_corpus_manifest(corpus_dir: Path) -> dict[str, Any]:
    """Return the manifest; DataError when `corpus_dir` isn't a corpus that this version reads."""
    return read_manifest(corpus_dir, FORMAT, FORMAT_VERSION, DataError)


def list_sources(corpus_dir: Path) -> list[str]:
    """Return the names of the sources in the order in which they were read."""
    return list(read_corpus_manifest(corpus_dir)["sources"])


def require_whole(corpus_dir: Path, prefix: str, shards: dict[str, str]) -> None:
    """Raise DataError when a shard isn't what was written: zstd alone lets a flipped bit pass as other text."""
    for name, digest in shards.items():
        path = corpus_dir / name
        if name.startswith(prefix) and (not path.is_file() or digest_file(path) != digest):
            what = "is damaged: its digest differs from the manifest's" if path.is_file() else "is missing"
            raise DataError(f"{path} {what}; delete {corpus_dir} and build the corpus again")


def read_documents(corpus_dir: Path, split: str, source: str) -> Iterator[Document]:
    """Yield the documents of one source in "train" or "validation", in the order in which they were read.

    A source may have none in a split. Raises DataError for an unknown source or a damaged shard.
    """
    assert split in SPLITS, split
    manifest = read_corpus_manifest(corpus_dir)
    if source not in manifest["sources"]:
        raise DataError(f"{corpus_dir} has no source {source!r}; it has {', '.join(manifest['sources'])}")
    require_whole(corpus_dir, f"{split}/{source}/", manifest["shards"])
    for line in read_lines(corpus_dir / split / source):
        yield parse_document(line)
