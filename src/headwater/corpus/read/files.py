"""The files of a source, in order, and which of them are of splits that a model is to be tested with.

Splits are as Hugging Face lays them out. A data set on disk is a folder with dataset_dict.json and a folder a split;
one of the hub has files that are named test-00000-of-00002.parquet, or c4-test.00000-of-00002.json.gz, and so on. No
reader is loaded for any of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePath

from headwater.core.errors import DataError
from headwater.corpus.document import Drop
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.listed import listed_files
from headwater.corpus.read.own import own_formats
from headwater.corpus.read.walk import ListedFile, list_files
from headwater.corpus.source_paths import parts_and_pattern
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings

_HELD_OUT = re.compile(r"(?:test|validation|valid|val|dev|eval|evaluation)(?![a-z])", re.IGNORECASE)
_SHARD = re.compile(r"(?:.+[-.])?(?P<split>[A-Za-z0-9_]+)[-.]\d{5}-of-\d{5}[-.]")
_NO_SPLITS = ("data", "part")  # what shards are called, too
_CARD = "dataset_dict.json"
REASON = "split_excluded"


def source_files(name: str, settings: CorpusSettings) -> Iterator[ListedFile]:
    """Return the files of a source in order, skipped ones too; it names files, as samples.files makes every source do.

    Raises DataError, here, on the way or behind the last, for what the settings name and isn't there.
    """
    source = settings.sources[name]
    if source.paths_file is not None:
        return listed_files(source.paths_file, source.prefix or "", f"corpus.sources.{name}.paths_file")
    assert source.paths is not None, f"the texts of source {name} were not written as files"
    return Splits(name, source).required(list_files(source.paths, setting_of(name)))


def limits_of(settings: CorpusSettings, source: SourceSettings) -> ReadLimits:
    shared = (settings.max_document_characters, settings.max_line_bytes, settings.max_file_bytes)
    of_source = source.text_column, source.encoding, source.errors
    blocked = tuple(settings.blocked_hosts or ()), tuple(settings.blocked_urls or ())
    return ReadLimits(*shared, *of_source, settings.licences is not None, own_formats(settings.formats), *blocked)


def setting_of(name: str) -> str:
    """Return the setting that names the files of a source, for messages."""
    return f"corpus.sources.{name}.paths"


def is_held_out(split: str) -> bool:
    """Return whether a split of this name is one for testing, which is not read unless it is wanted."""
    return _HELD_OUT.match(split) is not None


class Splits:
    """Tells the split of a file that lies below a path of a source, and whether it is read: what `wanted` names, or all
    but test and validation. A path that names a split has chosen it.
    """

    def __init__(self, name: str, source: SourceSettings) -> None:
        self._source, self._wanted = name, source.splits
        self._given = [parts_and_pattern(path) for path in source.paths or []]
        self._is_set = cache(lambda folder: (folder / _CARD).is_file())

    def drop_of(self, path: Path, origin: str) -> Drop | None:
        """Return the drop of a file whose split is not read, None for one that is."""
        split = self.split_of(path, origin)
        if split is None or (not is_held_out(split) if self._wanted is None else split in self._wanted):
            return None
        why = f"split {split[:60]}; corpus.sources.{self._source}.splits names those to read"
        return Drop(REASON, self._source, origin, origin, _num_bytes(path), because=why)

    def split_of(self, path: Path, origin: str) -> str | None:
        """Return the split that a file belongs to, by the settings' name for it; None where a path has chosen it."""
        parts = PurePath(origin).parts
        split = None
        for given, top in self._given:
            if parts[:top] != given[:top]:
                continue
            split = self._below(path, parts, top)
            if split is None or split in _words(given[top:] or given[-1:]):
                return None
        return split

    def required(self, files: Iterable[ListedFile]) -> Iterator[ListedFile]:
        """Yield all files of a source; behind the last raise DataError where a split is wanted that none is of.

        One that a path names is not missed: what lies below is of no split then.
        """
        chosen = set().union(*(_words(given) for given, _ in self._given))
        required = [split for split in self._wanted or () if split not in chosen]
        found = set[str]()
        for file in files:
            if required and not file.skipped and (split := self.split_of(file.path, file.origin)) is not None:
                found.add(split)
            yield file
        if missing := [split for split in required if split not in found]:
            raise DataError(
                f"corpus.sources.{self._source}.splits: there is no split {missing[0]!r}; "
                f"the data set has {', '.join(sorted(found)) or 'none, so remove splits'}"
            )

    def _below(self, path: Path, parts: tuple[str, ...], top: int) -> str | None:
        """Return the split that a file belongs to by what stands in its path behind the first `top` parts."""
        folders = path.parents
        for above in range(1, len(parts) - top):
            if self._is_set(folders[above]):
                return parts[len(parts) - above - 1]
        shard = _SHARD.match(parts[-1]) if len(parts) > top else None
        return shard["split"] if shard and shard["split"] not in _NO_SPLITS else None


def _words(parts: tuple[str, ...]) -> set[str]:
    return {word for part in parts for word in re.split(r"\W", part)}


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # at an address, or no more
        return 0
