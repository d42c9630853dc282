"""The files of a source, in order, and which of them are of splits that a model is to be tested with.

Splits are as Hugging Face lays them out. A data set on disk is a folder with dataset_dict.json and a folder a split;
one of the hub has files that are named test-00000-of-00002.parquet, or c4-test.00000-of-00002.json.gz, and so on.

A list names files a line each, such as Common Crawl's wet.paths.gz, or in rows, as its columnar index does: a row
names one record of a crawl, by a range of bytes, which is read without the rest of its file (read.remote).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import cache
from io import TextIOWrapper
from pathlib import Path, PurePath
from typing import Any

from headwater.core.errors import DataError
from headwater.core.stores import is_address, refuse_secrets
from headwater.corpus.document import Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.own import own_formats
from headwater.corpus.read.remote import copied, range_of_bytes
from headwater.corpus.read.walk import ListedFile, list_files
from headwater.corpus.source_paths import parts_and_pattern
from headwater.corpus.sources.formats import format_of
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


_COLUMNS = ("warc_filename", "warc_record_offset", "warc_record_length")
_BATCH_ROWS = 10_000


def listed_files(paths_file: str, prefix: str, setting: str) -> Iterator[ListedFile]:
    """Yield the files and ranges that a list names, each once, in its order, `prefix` before each.

    Those elsewhere aren't looked at: each costs no request before its turn. Raises DataError for a list that can't be
    read or names nothing, and for a file that isn't here.
    """
    seen = set[str]()
    if not is_address(paths_file) and not os.path.isfile(os.path.expanduser(paths_file)):
        raise DataError(f"{setting}: there is no file {paths_file!r} (looked from {Path.cwd()}); correct it")
    here = Path(paths_file).expanduser()
    with copied(paths_file, setting) if is_address(paths_file) else nullcontext(here) as path:
        try:
            for number, (name, at, length) in enumerate(_entries(path), 1):
                given = f"{prefix}{name}"
                if is_address(given):
                    refuse_secrets(given, setting)
                elif not os.path.isfile(os.path.expanduser(given)):
                    raise DataError(
                        f"{setting}: entry {number:,} of {paths_file} is {given!r}, which isn't a file here"
                    )
                elif length:
                    given = Path(given).expanduser().absolute().as_uri()
                origin = range_of_bytes(given, at, length) if length else given
                if origin not in seen:
                    seen.add(origin)
                    yield ListedFile(Path(origin).expanduser(), origin)
        except (OSError, ValueError, Unusable) as error:
            raise DataError(f"{setting}: {paths_file} can't be read: {error}") from None
    if not seen:
        raise DataError(f"{setting}: {paths_file} names no file; write one a line, # before comments")


def _entries(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield each entry of a list: a name, and the first byte and the number of bytes, 0 for a whole file."""
    file_format = format_of(path.name)
    if file_format == "parquet":
        yield from _ranges(_parquet_rows(path))
        return
    with InputFile(path, path.name, "", "text").open() as stream, TextIOWrapper(stream, "utf-8") as lines:
        if file_format == "csv":
            yield from _ranges(csv.DictReader(lines))
        else:
            yield from ((line.strip(), 0, 0) for line in lines if line.strip() and not line.startswith("#"))


def _ranges(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, int, int]]:
    for row in rows:
        try:
            name, at, length = (row[column] for column in _COLUMNS)
            at, length = int(at), int(length)
        except (KeyError, TypeError):
            raise ValueError(f"a row has not all of {', '.join(_COLUMNS)}") from None
        if at < 0 or length < 1:
            raise ValueError(f"{name!r} has a range of {length:,} bytes from byte {at:,}")
        yield str(name), at, length


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            columns = [name for name in _COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
