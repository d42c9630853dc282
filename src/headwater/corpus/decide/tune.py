"""What another limit would keep, asked of columns that are there: no text is read, and nothing is built.

By limits alone: of what they leave a build still drops copies. Both are said, and which of them a figure is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from headwater.core.errors import ConfigError
from headwater.corpus.decide.columns import beside_texts, open_columns, work_of
from headwater.corpus.decide.decisions import make_documents, measures_of_limits, number_columns
from headwater.corpus.decide.limits import quoted
from headwater.corpus.document import Document
from headwater.corpus.measures.chosen import STATISTICS, chosen_measures
from headwater.corpus.measures.statistics import family_of
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.plan import for_workers, how_read
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import RECORD_BITS, Work, part_of, record_of

NUM_BINS = 10
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Change:
    """What a source's documents in a language come to by the limits as they are, and by the others."""

    source: str
    language: str
    read: dict[str, int]
    kept: dict[str, int]
    would_keep: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The answer: a row a source and language, what each reason drops before and after, a column, samples.

    `notes` name limits that no document is held to.
    """

    changes: list[Change]
    reasons: dict[str, dict[str, int]]
    histogram: list[dict[str, Any]]
    quantiles: dict[str, float]
    samples: dict[str, list[dict[str, Any]]]
    notes: list[str]


def tune(corpus_dir: Path, other: CorpusSettings, column: str | None = None, num_samples: int = 3) -> Tuned:
    """Return what the limits of `other` would keep of a corpus, beside those that it was built with.

    With a column its histogram and quantiles. Samples are texts on which both differ, and texts at a random place on
    either side. Raises DataError where the corpus' work isn't there, ConfigError for a column that no measure has, or
    for other settings than limits.
    """
    work = work_of(corpus_dir, also_failed=True)
    _require_limits_alone(work, other)
    with open_columns(work) as connection:
        before = _reasons(connection, make_documents(work, connection, work.plan.settings), "before")
        after = _reasons(connection, make_documents(work, connection, other), "after")
        parts = {"part": pa.array([part.number for part in work.plan.parts], pa.uint64())}
        connection.register("parts", pa.table({**parts, "source": [part.source for part in work.plan.parts]}))
        reasons = {
            reason: {"before": before.get(reason, 0), "after": after.get(reason, 0)} for reason in {**before, **after}
        }
        histogram, quantiles = _shape(connection, work, column) if column is not None else ([], {})
        samples = {
            name: _samples(connection, work, condition, num_samples)
            for name, condition in (
                ("dropped now, kept then", "b.reason is not null and a.reason is null"),
                ("kept now, dropped then", "b.reason is null and a.reason is not null"),
                ("kept by both", "b.reason is null and a.reason is null"),
            )
        }
        notes = _without_documents(connection, work, other)
        return Tuned(_changes(connection, work), reasons, histogram, quantiles, samples, notes)


def _require_limits_alone(work: Work, other: CorpusSettings) -> None:
    """Raise ConfigError for settings under which other texts would be read, or other values measured."""
    settings, inputs = work.plan.settings, dict(work.plan.inputs)
    other = for_workers(other)  # as the plan's are
    is_same = all(how_read(settings, name, inputs) == how_read(other, name, inputs) for name in settings.sources)
    with suppress(KeyError):  # a classifier that the corpus wasn't built with
        measures = {each.name: each.key("") for each in chosen_measures(other, inputs)}
        if is_same and measures == {each.name: each.key("") for each in work.measures.values()}:
            return
    raise ConfigError(
        "these settings change what is read of the texts, or what is measured, not limits alone; "
        "`headwater corpus build RUN` with them reads and measures what it must, and then tune answers"
    )


def _reasons(connection: duckdb.DuckDBPyConnection, limits: Sequence[Any], name: str) -> dict[str, int]:
    """Keep the table `documents` under another name, with reasons; return how many documents each drops."""
    table = pa.table({"broken": pa.array(range(len(limits)), pa.int32()), "reason": [each.reason for each in limits]})
    connection.register("named_limits", table)
    connection.execute(
        f"""create table {name} as select number, text_bytes, left_bytes, reason from documents
            left join named_limits using (broken)"""
    )
    found = f"select reason, count(*) from {name} where reason is not null group by reason order by 2 desc"
    return dict(connection.execute(found).fetchall())


def _without_documents(connection: duckdb.DuckDBPyConnection, work: Work, other: CorpusSettings) -> list[str]:
    """Say which limits that differ are for kinds of text that the corpus hasn't."""
    settings = work.plan.settings
    kinds = {kind for (kind,) in connection.execute("select distinct kind from texts").fetchall()}
    limits = [f"corpus.limits.{kind}" for kind in other.limits if kind not in kinds]
    families = {family_of(kind) for kind in kinds}
    rules = [
        f"corpus.rules.{family}"
        for family in type(settings.rules).model_fields
        if getattr(settings.rules, family) != getattr(other.rules, family) and family not in families
    ]
    return [f"{name} is for no document: the kinds here are {', '.join(sorted(kinds))}" for name in limits + rules]


def _changes(connection: duckdb.DuckDBPyConnection, work: Work) -> list[Change]:
    language = "language" if "language" in work.measures else "usual"
    texts = beside_texts(work, STATISTICS, "language")
    rows = connection.execute(
        f"""select source, coalesce({language}, '') as language, count(*), sum(b.left_bytes),
            count(*) filter (b.reason is null), sum(b.left_bytes) filter (b.reason is null),
            count(*) filter (a.reason is null), sum(b.left_bytes) filter (a.reason is null)
            from before b join after a using (number) join parts on part = number >> {RECORD_BITS}
            join (select number, {language} from {texts}) using (number)
            group by source, 2 order by min(part), count(*) desc"""
    ).fetchall()
    return [
        Change(row[0], row[1], *({"documents": row[at], "bytes": int(row[at + 1] or 0)} for at in (2, 4, 6)))
        for row in rows
    ]


def _shape(
    connection: duckdb.DuckDBPyConnection, work: Work, column: str
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the histogram of a column, equal bins but for the first and last hundredth, and its quantiles."""
    known = number_columns(work, connection)
    if column not in known:
        raise ConfigError(
            f"no measure has the column {column!r}; known here: {', '.join(sorted(known))} (columns of numbers)"
        )
    texts = beside_texts(work, *measures_of_limits(work))
    values = f"(select number, {quoted(column)}::double as value from {texts} where isfinite({quoted(column)}::double))"
    quantiles = connection.execute(
        f"select quantile_cont(value, {list(_QUANTILES)}), min(value), max(value) from {values}"
    ).fetchone()
    assert quantiles is not None
    if quantiles[1] is None:
        return [], {}
    found = dict(zip(map(str, _QUANTILES), quantiles[0])) | {"min": quantiles[1], "max": quantiles[2]}
    low, high = found["0.01"], found["0.99"]
    width = (high - low) / NUM_BINS or 1.0
    rows = connection.execute(
        f"""select least(greatest(floor((value - {low!r}) / {width!r}), 0), {NUM_BINS - 1})::int as bin, count(*),
            count(*) filter (b.reason is null), count(*) filter (a.reason is null)
            from {values} join before b using (number) join after a using (number)
            group by bin order by bin"""
    ).fetchall()
    counts = {row[0]: row[1:] for row in rows}
    edges = [found["min"], *(low + width * number for number in range(1, NUM_BINS)), found["max"]]
    names = ("documents", "kept", "would_keep")
    bins = [
        {"from": edges[number], "to": edges[number + 1], **dict(zip(names, counts.get(number, (0, 0, 0))))}
        for number in range(NUM_BINS)
    ]
    return bins, found


def _samples(connection: duckdb.DuckDBPyConnection, work: Work, condition: str, count: int) -> list[dict[str, Any]]:
    """Return documents that are drawn, by the corpus' seed, with the beginning of their text."""
    rows = connection.execute(
        f"""select number, b.reason, a.reason from before b join after a using (number) where {condition}
            order by hash(number, {work.plan.settings.seed}) limit {int(count)}"""
    ).fetchall()
    found = []
    for number, before, after in rows:
        part = work.plan.parts[part_of(number)]
        document: Document = Texts(work, part).document(record_of(number))
        shown = {"source": part.source, "id": document.id, "before": before, "after": after}
        found.append({**shown, "text": document.text[:400]})
    return found
