"""How much text a run has: its tokens as they are built, or about as many as its files will give. No torch."""

from __future__ import annotations

import math
import os
from pathlib import Path

from headwater.errors import DataError
from headwater.forecast.processor import constants
from headwater.runs.paths import split_tokens
from headwater.runs.run_config import RunConfig
from headwater.sources.settings import SourceSettings, parse_names


def foreseen_held_out(config: RunConfig) -> dict[str, int]:
    """Return {source: tokens held out} as built, else about as many as the files will give.

    A source whose size isn't known has no entry.
    """
    built = split_tokens(config.run_dir, "validation")
    if built is not None:
        return built
    part = config.corpus.validation_fraction / usual_bytes_per_token(config.model.vocab_size)
    sizes = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    return {name: round(size * part) for name, size in sizes.items() if size is not None}


def notes_of_missing_text(config: RunConfig) -> list[str]:
    """Return a note of every path of the sources that names nothing, or below which no file has any text.

    None once the text is built. A plan may come before its text, and is one all the same. Nothing is read; addresses
    elsewhere are not asked.
    """
    if split_tokens(config.run_dir, "train") is not None:
        return []
    sources = {name: source.paths for name, source in config.corpus.sources.items() if source.paths}
    if not sources:
        return []
    from headwater.corpus.read.remote import is_address  # readers of files alone: a plan of packages needs none

    paths = ((name, path) for name, found in sources.items() for path in found)
    reasons = ((name, _why_without_text(path, name)) for name, path in paths if not is_address(path))
    return [
        f"source {name!r}: {reason}; nothing of it is counted here. Name files or folders that hold text"
        for name, reason in reasons
        if reason
    ]


def _why_without_text(path: str, source: str) -> str:
    """Return why nothing can be read from a path of a source, or "" where some file can be."""
    from headwater.corpus.read.input import NO_PERMISSION, reason_not_readable
    from headwater.corpus.read.walk import find_files

    reasons = set()
    try:
        for file, _ in find_files([path], source):
            reason = reason_not_readable(file)
            if reason is None:
                return ""
            reasons.add(reason)
    except DataError:
        return f"there is no {path!r} (looked from {Path.cwd()})"
    if NO_PERMISSION in reasons:
        return f"permission denied to read {path}"
    return f"no file with text was found in {path}"


def source_bytes(source: SourceSettings) -> float | None:
    """Return the bytes of a source's files as they lie on the disk, or of its packages' text as it was when measured.

    None where a package was never measured: pages and compressed books say little about the text in them.
    """
    known: dict[str, float] = constants()["known_source_bytes"]
    if source.fetched is not None:
        sizes = [_known_of(entry, known) for entry in source.fetched]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    if source.paths is None:
        return known.get(source.package or source.builtin or "")
    from headwater.corpus.read.remote import is_address

    files = {os.path.realpath(file) for path in source.paths if not is_address(path) for file in _files_read(path)}
    return float(sum(map(os.path.getsize, files))) if files else None


def _files_read(path: str) -> list[Path]:
    """Return the files that a corpus reads of a path, none of one that names nothing."""
    from headwater.corpus.read.walk import find_files

    try:
        return [file for file, _ in find_files([path], "paths") if os.path.isfile(file)]
    except DataError:
        return []


def _known_of(entry: str, known: dict[str, float]) -> float | None:
    """Return the size of the first of a package's alternatives that was measured."""
    names = (f"{package.channel}:{package.name}" for package in parse_names(entry))
    return next((known[name] for name in names if name in known), None)


def has_almanac(config: RunConfig) -> bool:
    """Return whether probes ask the almanac's questions."""
    return any(source.builtin == "almanac" for source in config.corpus.sources.values())


def usual_bytes_per_token(vocab_size: int) -> float:
    """Return what byte-level BPE reaches on mixed text: about 3.5 at 8,192 ids, a third of a byte more per doubling.

    4.5 at 65,536 is below the 4.8 that nanochat reports on web text alone. A rule of thumb.
    """
    return min(5.0, max(1.5, 3.5 + (math.log2(vocab_size) - 13) / 3))
