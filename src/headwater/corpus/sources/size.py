"""How many bytes of text a source has, before anything of it is read: of its files, or as it was once measured."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib import resources

from headwater.corpus.sources.settings import SourceSettings, parse_names


@cache
def _known_bytes() -> dict[str, float]:
    """Return `data/known_bytes.json`: what packages and built-in texts had when they were measured."""
    text = resources.files("headwater.corpus.sources").joinpath("data", "known_bytes.json").read_text(encoding="utf-8")
    return {name: size for name, size in json.loads(text).items() if name != "source"}


def source_bytes(source: SourceSettings) -> float | None:
    """Return the bytes of a source's files as they lie on the disk, or of its packages' text as it was when measured.

    None where a package was never measured: pages and compressed books say little about the text in them.
    """
    known = _known_bytes()
    if source.fetched is not None:
        # of a package's alternatives the first that was measured
        named = [[f"{each.channel}:{each.name}" for each in parse_names(entry)] for entry in source.fetched]
        measured = [[known[name] for name in names if name in known] for names in named]
        return sum(sizes[0] for sizes in measured) if all(measured) else None
    if source.paths is None:
        return known.get(source.package or source.builtin or "")
    files = {file for path in source.paths for file in files_below(path)}
    return float(sum(map(os.path.getsize, files))) if files else None


def files_below(path: str) -> Iterator[str]:
    """Yield the files that a path of the settings names, without hidden ones; none of an address or of nothing.

    A path that exists is no pattern. About what the corpus reads, which skips some of them and says why.
    """
    named = os.path.expanduser(path)
    if "://" in path:
        return
    waiting = [named] if os.path.lexists(named) else glob.glob(named, recursive=True)
    known = set[str]()
    while waiting:
        here = os.path.realpath(waiting.pop())
        if here in known:  # a link may lead back
            continue
        known.add(here)
        if os.path.isfile(here):
            yield here
        elif os.path.isdir(here) and os.access(here, os.R_OK | os.X_OK):
            waiting += [entry.path for entry in os.scandir(here) if not entry.name.startswith(".")]
