"""Documents of a corpus with what became of them, a few at a time: by its decisions, and texts that its build keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.decide.columns import rows_of_files, work_of
from headwater.corpus.document import plain_text
from headwater.corpus.load import files_in, list_sources
from headwater.corpus.measures.chosen import OF_KEYS
from headwater.corpus.shards import DECISIONS
from headwater.corpus.tasks.columns import COLUMNS_FILE
from headwater.corpus.tasks.pages import SHORTENED_FILE
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import SHORTENED

KEPT = "kept"
_SHOWN = ("slice", "record", "id", "reason", "because", "duplicate_of", "side", "text_bytes")


def reasons_of(corpus_dir: Path, source: str) -> dict[str, int]:
    """Return how many documents of a source are kept, and dropped for each reason, the commonest first."""
    query = f"""select coalesce(reason, '{KEPT}'), count(*) from {_decisions(corpus_dir, source)}
                group by 1 order by 2 desc, 1"""
    with duckdb.connect() as connection:
        return dict(connection.execute(query).fetchall())


def documents(
    corpus_dir: Path, source: str, decision: str | None = None, name: str = "", start: int = 0, count: int = 20
) -> list[dict[str, Any]]:
    """Return documents of a source in the order of reading: `decision` is a reason or "kept", `name` is in an id."""
    query = f"""select file_index as slice, file_row_number as record, {", ".join(_SHOWN[2:])}
                from {_decisions(corpus_dir, source)}
                where ($1 is null or coalesce(reason, '{KEPT}') = $1) and contains(id, $2)
                order by slice, record limit {int(count)} offset {int(start)}"""
    with duckdb.connect() as connection:
        rows = connection.execute(query, [decision, name]).fetchall()
    return [dict(zip(_SHOWN, row, strict=True)) for row in rows]


def document(corpus_dir: Path, source: str, index: int, record: int) -> dict[str, Any]:
    """Return a document as it was read and cleaned, as it is trained on where lines were cut, and its columns.

    Raises DataError where its build's work is gone, ConfigError for a document that isn't there.
    """
    work = work_of(corpus_dir)
    part = next((each for each in work.plan.parts if (each.source, each.index) == (source, index)), None)
    texts = None if part is None else Texts(work, part)
    if part is None or texts is None or not 0 <= record < len(texts):
        raise ConfigError(f"source {source!r} has no document {record} in slice {index}")
    found = texts.document(record)
    columns: dict[str, Any] = {}
    for name, folder in work.columns_of_build(part.number).items():
        if name not in OF_KEYS:
            row = work.table(folder, COLUMNS_FILE).slice(record, 1)
            columns |= {key: value for key, value in row.to_pylist()[0].items() if value is not None}
    shortened = None
    if part.number in work.numbers_in_question(SHORTENED):
        pages = work.table(work.path_of(SHORTENED, part.number), SHORTENED_FILE, ["record", "text"]).to_pylist()
        shortened = next((page["text"] for page in pages if page["record"] == record), None)
    return {
        "id": found.id,
        "origin": found.origin,
        "metadata": found.meta,
        "text": plain_text(found),
        "shortened": shortened,
        "columns": columns,
    }


def _decisions(corpus_dir: Path, source: str) -> str:
    if source not in list_sources(corpus_dir):
        raise ConfigError(f"{corpus_dir} has no source {source!r}; it has {', '.join(list_sources(corpus_dir))}")
    files = files_in(corpus_dir, f"{DECISIONS}/{source}")
    if not files:
        raise DataError(f"{corpus_dir} says nothing of its documents; `headwater corpus build RUN` builds it again")
    return rows_of_files(files, ", file_row_number = true")
