"""Splits of data sets as Hugging Face lays them out: those that a model is to be tested with are not trained on.

A data set on disk is a folder with dataset_dict.json and a folder a split; one of the hub has files that are named
test-00000-of-00002.parquet, or c4-test.00000-of-00002.json.gz, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from headwater.corpus.document import Drop
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.source_paths import parts_and_pattern
from headwater.errors import DataError

_HELD_OUT = re.compile(r"(?:test|validation|valid|val|dev|eval|evaluation)(?![a-z])", re.IGNORECASE)
_SHARD = re.compile(r"(?:.+[-.])?(?P<split>[A-Za-z0-9_]+)[-.]\d{5}-of-\d{5}[-.]")
_NO_SPLITS = ("data", "part")  # what shards are called, too
_CARD = "dataset_dict.json"
REASON = "split_left_out"


@dataclass(frozen=True, slots=True)
class Splits:
    """Which splits a source reads: those that are named, or all but test and validation."""

    source: str
    wanted: tuple[str, ...] | None

    def are_read(self, split: str) -> bool:
        return split in self.wanted if self.wanted is not None else _HELD_OUT.match(split) is None

    def require(self, found: list[str]) -> None:
        """Raise DataError where a split is wanted that isn't among those that a data set has."""
        missing = [split for split in self.wanted or () if split not in found]
        if missing:
            raise DataError(
                f"corpus.sources.{self.source}.splits: there is no split {missing[0]!r}; "
                f"the data set has {', '.join(sorted(found)) or 'none, so remove splits'}"
            )

    def drop(self, split: str, origin: str, num_bytes: int) -> Drop:
        why = f"split {split[:60]}; corpus.sources.{self.source}.splits names those to read"
        return Drop(REASON, self.source, origin, origin, num_bytes, because=why)


class SplitsOfFiles:
    """Tells the split of a file that lies below a path of the settings; a path that names a split has chosen it."""

    def __init__(self, paths: list[str]) -> None:
        self._given = [parts_and_pattern(path) for path in paths]
        self._is_set: dict[Path, bool] = {}

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

    def required(self, files: Iterable[ListedFile], splits: Splits) -> Iterator[ListedFile]:
        """Yield all files of a source; behind the last raise DataError where a split is wanted that none is of.

        One that a path names is not missed: what lies below is of no split then.
        """
        chosen = set().union(*(_words(given) for given, _ in self._given))
        required = [split for split in splits.wanted or () if split not in chosen]
        found = set[str]()
        for file in files:
            if required and not file.skipped and (split := self.split_of(file.path, file.origin)) is not None:
                found.add(split)
            yield file
        Splits(splits.source, tuple(required)).require(list(found))

    def _below(self, path: Path, parts: tuple[str, ...], top: int) -> str | None:
        """Return the split that a file belongs to by what stands in its path behind the first `top` parts."""
        folders = path.parents
        for above in range(1, len(parts) - top):
            folder = folders[above]
            if folder not in self._is_set:
                self._is_set[folder] = (folder / _CARD).is_file()
            if self._is_set[folder]:
                return parts[len(parts) - above - 1]
        shard = _SHARD.match(parts[-1]) if len(parts) > top else None
        return shard["split"] if shard and shard["split"] not in _NO_SPLITS else None


def _words(parts: tuple[str, ...]) -> set[str]:
    return {word for part in parts for word in re.split(r"\W", part)}
