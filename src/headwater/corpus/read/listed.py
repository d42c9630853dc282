"""Files that a list names: lines of a file such as Common Crawl's wet.paths.gz, or the rows of its columnar index.

A row names one record of a crawl, by a range of bytes, which is read without the rest of its file (read.remote).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.stores import is_address, refuse_secrets
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.remote import copied, range_of_bytes
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.sources.formats import format_of

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
