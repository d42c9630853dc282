"""The files of a source, in order; no reader of theirs is loaded for it."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.corpus.read.splits import Splits
from headwater.corpus.read.walk import ListedFile, list_files
from headwater.corpus.samples.fetch.fetched import fetched_files
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings


def source_files(name: str, settings: CorpusSettings) -> Iterator[ListedFile] | None:
    """Return the files of a source in order, skipped ones too; None for one that comes with a package or Python.

    Raises DataError, here, on the way or behind the last, for what the settings name and isn't there.
    """
    source = settings.sources[name]
    if source.fetched is not None:
        return (ListedFile(*each) for each in fetched_files(source.fetched, settings.fetched_dir, name))
    if source.paths is None:
        return None
    return splits_of(name, source).required(list_files(source.paths, setting_of(name)))


def setting_of(name: str) -> str:
    """Return the setting that names the files of a source, for messages."""
    return f"corpus.sources.{name}.paths"


def splits_of(name: str, source: SourceSettings) -> Splits:
    return Splits(name, source.paths or [], source.splits)
