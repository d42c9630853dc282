"""What becomes of documents that are at hand, by the steps and the limits of a corpus: for previews, and for a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from headwater.corpus.decide.decisions import broken_rows
from headwater.corpus.decide.limits import because_of, limits_of, register_limits
from headwater.corpus.document import Document
from headwater.corpus.inputs import quality_inputs
from headwater.corpus.measures.chosen import OF_KEYS, chosen_measures
from headwater.corpus.measures.measure import measured
from headwater.corpus.pipeline import apply_steps, make_steps
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.step import Candidate, Cut
from headwater.corpus.words import WordHasher


class Judgement(NamedTuple):
    """A document as the steps leave it, and why it is dropped, if it is; what was cut out of it."""

    document: Document
    reason: str | None = None
    because: str = ""
    cuts: tuple[Cut, ...] = ()


def judged(documents: Iterable[Document], settings: CorpusSettings) -> list[Judgement]:
    """Return what becomes of each document alone: copies of one another are not looked for."""
    steps, hasher = make_steps(settings), WordHasher()
    verdicts = [apply_steps(steps, Candidate(document, hasher)) for document in documents]
    found = [
        Judgement(verdict.candidate.document, verdict.reason, verdict.because, verdict.cuts) for verdict in verdicts
    ]
    left = [number for number, verdict in enumerate(verdicts) if verdict.reason is None]
    candidates = [verdicts[number].candidate for number in left]
    for number, reason, because in _broken(left, candidates, settings):
        found[number] = found[number]._replace(reason=reason, because=because)
    return found


def _broken(numbers: list[int], candidates: list[Candidate], settings: CorpusSettings) -> list[tuple[int, str, str]]:
    columns: dict[str, Any] = {
        "number": pa.array(numbers, pa.uint64()),
        "kind": pa.array([each.document.kind for each in candidates], pa.string()),
        "licence": pa.array([each.document.meta.get("licence") for each in candidates], pa.string()),
    }
    for chosen in chosen_measures(settings, quality_inputs(settings)):
        if chosen.name not in OF_KEYS:
            batch = measured(chosen.load(), candidates)
            columns |= {name: batch.column(name) for name in batch.schema.names}
    limits = limits_of(settings)
    with duckdb.connect() as connection:
        connection.register("documents", pa.table(columns))
        register_limits(connection, settings, [each.document.meta.get("licence", "") for each in candidates])
        rows = connection.sql(broken_rows("documents", limits)).to_arrow_table().to_pylist()
    named = {number: each.document.meta.get("licence_named", "") for number, each in zip(numbers, candidates)}
    return [
        (row["number"], (limit := limits[row["broken"]]).reason, because_of(limit, row, settings, named[row["number"]]))
        for row in rows
    ]
