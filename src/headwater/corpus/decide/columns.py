"""The columns of a corpus in DuckDB: a view of the texts without their text, and one a measure, row beside row.

A document's number is its slice's, times 2**32, and its place there: numbers are in the order of reading. All files of
a view are listed in the order of the slices, so that views join by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa

from headwater.core.errors import DataError, StorageError
from headwater.core.task_output import work_folder
from headwater.corpus.load import failed_build_folder, has_failed, read_corpus_manifest
from headwater.corpus.tasks.columns import COLUMNS_FILE
from headwater.corpus.tasks.work import RECORD_BITS, TEXTS, Work, work_of_plan

NUMBER = f"(file_index::ubigint << {RECORD_BITS}) + file_row_number::ubigint as number"
"The expression for numbers of the rows of files, in their order."
_OF_TEXTS = "id, kind, licence, read_bytes, left_bytes, text_bytes"
_NUMBERED = ", file_row_number = true"
_MEMORY_BYTES = 2_000_000_000  # more is spilled


def work_of(corpus_dir: Path, *, also_failed: bool = False) -> Work:
    """Return the work of the build that made a corpus; raise DataError where it is gone.

    With `also_failed` that of a later one that kept too little, if there is one.
    """
    is_failed = also_failed and has_failed(corpus_dir)
    manifest = read_corpus_manifest(failed_build_folder(corpus_dir) if is_failed else corpus_dir)
    work = work_of_plan(corpus_dir, str(manifest.get("plan")), manifest.get("store", "").rpartition("/")[0] or None)
    if work is None:
        raise DataError(
            f"{work_folder(corpus_dir)} doesn't hold what {corpus_dir} was made of; remove {corpus_dir}, and "
            "`headwater corpus build RUN` makes both again"
        )
    return work


@contextmanager
def open_columns(work: Work) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the view `texts` and one for each measure, by its name.

    Raises DataError where a file isn't as it was written, StorageError where there is no room for what is spilled.
    """
    numbers = range(len(work.plan.parts))
    temporary = work.folder / f"temporary-{uuid4().hex}"  # two commands at once must not share what they spill
    connection = duckdb.connect()
    try:
        connection.execute("set preserve_insertion_order = true")
        connection.execute(f"set memory_limit = '{_MEMORY_BYTES // 10**6} MB'")
        connection.execute(f"set temp_directory = {quoted_text(str(temporary))}")
        files = at_hand(work, [work.path_of(TEXTS, number) / work.documents_file for number in numbers])
        connection.execute(f"create view texts as select {NUMBER}, {_OF_TEXTS} from {rows_of_files(files, _NUMBERED)}")
        for name in work.measures:
            files = at_hand(work, [work.columns_of(name, number) / COLUMNS_FILE for number in numbers])
            connection.execute(f'create view "measure_{name}" as select * from {rows_of_files(files)}')
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise StorageError(
            f"deciding takes more memory than there is, or more of the disk of {work.folder} ({error}); "
            "free some and give the same command again"
        ) from error
    except duckdb.Error as error:  # of any kind, where a file was damaged
        raise DataError(
            f"the columns of the corpus can't be read ({error}); remove {work.folder.parent.parent}"
        ) from error
    finally:
        connection.close()


def at_hand(work: Work, files: list[Path]) -> list[Path]:
    """Return files of the work's outputs, fetched where they are in a store."""
    work.place.fetch((path.parent, path.name) for path in files)
    return files


def beside_texts(work: Work, *names: str) -> str:
    """Return what `from` needs for the texts with the columns of some measures."""
    return " positional join ".join(["texts", *(f'"measure_{name}"' for name in names if name in work.measures)])


def by_part(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of each slice, with the place of each document there as `record`; the table is in its order."""
    if not len(table):
        return
    numbers = table.column("number").to_numpy()
    parts, records = numbers >> np.uint64(RECORD_BITS), numbers & np.uint64((1 << RECORD_BITS) - 1)
    rest = table.drop_columns(["number"]).add_column(0, "record", pa.array(records.astype(np.int64)))
    bounds = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
    for start, end in pairwise(bounds):
        yield int(parts[start]), rest.slice(start, end - start).combine_chunks()


def numbered(tables: Sequence[tuple[int, pa.Table]], schema: pa.Schema) -> pa.Table:
    """Return tables of slices as one, each document by its number in place of `record`."""
    found = [pa.table({name: pa.array([], kind) for name, kind in zip(schema.names, schema.types)})]
    for part, table in tables:
        numbers = table.column("record").to_numpy().astype(np.uint64) + np.uint64(part << RECORD_BITS)
        at = table.schema.get_field_index("record")
        found.append(table.set_column(at, "number", pa.array(numbers)))
    return pa.concat_tables(found, promote_options="default")


def rows_of_files(files: Sequence[Path], more: str = "") -> str:
    """Return what `from` needs for the rows of files; folders named as `kind=web` are no columns, `[1]` no pattern."""
    named = ", ".join(quoted_text(re.sub(r"[\[*?]", r"[\g<0>]", str(file))) for file in files)
    return f"read_parquet([{named}], hive_partitioning = false{more})"


def quoted_text(text: str) -> str:
    """Return a text as SQL writes it; limits.quoted is for names."""
    return "'" + text.replace("'", "''") + "'"
