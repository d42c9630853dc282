"""What becomes of every document: the stages of deciding, each a few queries; between them texts are compared, or cut.

What is asked of the texts in between (tasks.pages, tasks.verify) is written into the work folder, answered by tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from headwater.corpus.decide.columns import beside_texts, by_part, numbered
from headwater.corpus.decide.duplicates import (
    EARLIER,
    OWN_SCHEMA,
    find_common_lines,
    find_copies,
    find_pairs,
    find_shared_passages,
    near_duplicates,
    settle_by_signatures,
)
from headwater.corpus.decide.earlier import REASON as EARLIER_DUPLICATE
from headwater.corpus.decide.earlier import open_earlier
from headwater.corpus.decide.limits import (
    NOT_ALLOWED,
    Limit,
    because_of,
    broken_limit,
    limit_column,
    limits_of,
    quoted,
    register_limits,
    require_columns,
    settings_that_are_off,
    value_and_limit,
)
from headwater.corpus.decide.passages import find_copied, find_repeated_keys
from headwater.corpus.decide.splits import splits_of
from headwater.corpus.measures.boilerplate import REASON as BOILERPLATE
from headwater.corpus.measures.boilerplate import boilerplate_rule
from headwater.corpus.measures.chosen import KEYS, LANGUAGE, OF_KEYS, STATISTICS
from headwater.corpus.measures.statistics import Statistics, family_of
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.pages import OWN_FILE, SHORTENED_FILE
from headwater.corpus.tasks.passages import COPIED_PASSAGES, PASSAGES_FILE
from headwater.corpus.tasks.verify import PAIRS_FILE
from headwater.corpus.tasks.work import COPIED, OWN, RECORD_BITS, SHORTENED, TEXTS, VERIFY, WRITE, Work

EXACT_DUPLICATE, NEAR_DUPLICATE = "exact_duplicate", "near_duplicate"
_SIDES = ("train", "validation")
_VERSION = 2  # raise it when the same question gets another answer
_ROWS_AT_ONCE = 100_000
_DOCUMENTS_AT_ONCE = 500_000
_OF_SHORTENED = ["record", "bytes", "cut_bytes", "copied_bytes", *Statistics.columns]
_NUMBERS = {
    "BOOLEAN",
    "FLOAT",
    "DOUBLE",
    *(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")),
}
_NUMBERS |= {"INTEGER", "UINTEGER"}


def make_documents(work: Work, connection: duckdb.DuckDBPyConnection, settings: CorpusSettings) -> list[Limit]:
    """Make the table `documents`: each with the number of the limit that it breaks, if any; return the limits."""
    measures = measures_of_limits(work)
    require_columns(settings, number_columns(work, connection))
    limits = limits_of(settings)
    licences = connection.execute("select distinct licence from texts where licence is not null").fetchall()
    register_limits(connection, settings, (licence for (licence,) in licences))
    # of a positional join DuckDB knows no size: it would look up each limit among all documents, in memory
    connection.execute("set disabled_optimizers = 'build_side_probe_side'")
    kinds = connection.execute("select distinct kind from texts").fetchall()
    broken = broken_limit(limits, settings_that_are_off(settings, {family_of(kind) for (kind,) in kinds}))
    connection.execute(
        f"""create or replace table documents as
            select number, kind, left_bytes, text_bytes, {broken} as broken
            from ({beside_texts(work, *measures)}) m left join limits l
            on l.of_family is not distinct from m.family and l.of_usual is not distinct from m.usual"""
    )
    connection.execute("reset disabled_optimizers")
    return limits


def measures_of_limits(work: Work) -> list[str]:
    """Return the measures whose columns may have limits: all but keys."""
    return [name for name in work.measures if name not in OF_KEYS]


def describe_columns(connection: duckdb.DuckDBPyConnection, measure: str) -> list[tuple[str, str]]:
    """Return the columns of a measure, and their types in SQL."""
    return [(row[0], row[1]) for row in connection.execute(f'describe "measure_{measure}"').fetchall()]


def number_columns(work: Work, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the columns that may have limits: those that hold numbers, or what is true or not."""
    found = [each for measure in measures_of_limits(work) for each in describe_columns(connection, measure)]
    return [name for name, kind in found if kind in _NUMBERS]


class Decisions:
    """The decisions of one plan, in the order in which they are made."""

    def __init__(self, work: Work, connection: duckdb.DuckDBPyConnection) -> None:
        self._work, self._connection = work, connection
        self._settings = work.plan.settings
        has_pages = boilerplate_rule(self._settings) is not None
        self._boilerplate = self._settings.boilerplate if has_pages else None

    def limit(self) -> None:
        """Decide by limits and exact duplicates, and ask for pages' own text."""
        run = self._connection.execute
        self._limits = make_documents(self._work, self._connection, self._settings)
        run(f'create view keys as from (texts positional join "measure_{KEYS}")')
        self._own_of_earlier = open_earlier(self._work, self._connection)
        passed = "select number from documents where broken is null"
        run(f"create table passed as {passed} union all select number from earlier")
        dedup = self._settings.dedup
        find_copies(self._connection, dedup.exact)
        run("create table compared as select number from passed anti join copies using (number)")
        compares_pages = dedup.near and "web" not in dedup.near_exempt_kinds
        find_common_lines(self._connection, self._boilerplate if compares_pages else None, "compared")
        self._ask(OWN, self._lines_by_part(), **self._how_compared())

    def _ask(
        self,
        stage: str,
        tables: Iterable[tuple[int, pa.Table]],
        of_slice: Callable[[int, pa.Table], Any] = lambda number, table: None,
        **also: Any,
    ) -> None:
        of_pages = None if self._boilerplate is None else self._boilerplate.model_dump(mode="json")
        sites = {name: source.paths for name, source in self._settings.sources.items()}
        way = {**also, "version": _VERSION, "boilerplate": of_pages, "sites": sites}
        self._work.ask(stage, dict(tables), way, of_slice)

    def _lines_by_part(self) -> Iterator[tuple[int, pa.Table]]:
        table = self._connection.sql(
            "select number, list(key order by key) as keys from common_lines group by number order by number"
        ).to_arrow_table()
        yield from by_part(table)

    def pair(self) -> None:
        """Find pairs that may be near duplicates, and ask for those to be verified that signatures leave unsure."""
        own = [(number, self._answer(OWN, number, OWN_FILE)) for number in self._work.numbers_in_question(OWN)]
        if not self._settings.dedup.near:
            self._connection.execute("delete from compared")
        own_bands = pa.concat_tables([numbered(own, OWN_SCHEMA), self._own_of_earlier], promote_options="default")
        find_pairs(self._connection, own_bands)
        settle_by_signatures(self._connection, self._settings.dedup)
        keys = "(select number, list(key order by key) as keys from common_lines group by number)"
        table = self._connection.sql(
            f"""select later as number, earlier, earlier in (select number from doubtful) as is_doubtful,
                coalesce(a.keys, []) as later_keys, coalesce(b.keys, []) as earlier_keys
                from unsure left join {keys} a on later = a.number left join {keys} b on earlier = b.number
                where later not in (select later from alike where earlier not in (select number from doubtful))
                order by later, earlier"""
        ).to_arrow_table()
        parts = self._work.plan.parts

        def texts_of(number: int, table: pa.Table) -> list[Any]:
            # pairs have numbers, the slice's own among them, which change with the slices before it
            others = np.unique(table.column("earlier").to_numpy() >> np.uint64(RECORD_BITS))
            return [number, *(parts[each].key for each in others)]

        self._ask(VERIFY, by_part(table), texts_of, **self._how_compared())

    def _how_compared(self) -> dict[str, Any]:
        dedup = self._settings.dedup.model_dump(mode="json", exclude={"earlier", "passage_words"})
        return {"dedup": dedup, "min_words": self._settings.rules.web.min_words}

    def _answer(self, stage: str, number: int, file: str, columns: list[str] | None = None) -> pa.Table:
        return self._work.table(self._work.path_of(stage, number), file, columns)

    def keep(self) -> None:
        """Decide about near duplicates, and ask what of the documents that stay came before."""
        run, connection = self._connection.execute, self._connection
        for number in self._work.numbers_in_question(VERIFY):
            connection.register("verified", self._answer(VERIFY, number, PAIRS_FILE))
            run("insert into alike select later, earlier from verified")
        pairs = connection.sql("select later, earlier from alike order by later, earlier").to_arrow_table()
        found = near_duplicates(*(pairs.column(name).to_numpy() for name in ("later", "earlier")))
        near = pa.table({name: pa.array(each, pa.uint64()) for name, each in zip(("number", "first"), found)})
        connection.register("near", near)
        run(
            """create table kept as select number, text_bytes, split_hash from documents
               join (select number, split_hash from keys) using (number)
               where broken is null and number not in (select number from copies)
               and number not in (select number from near)"""
        )
        passage_words = self._settings.dedup.passage_words
        find_repeated_keys(connection, passage_words is not None)
        table = connection.sql("from repeated_keys order by number").to_arrow_table()
        # answers have numbers, which change with the slices before this one
        self._ask(COPIED, by_part(table), lambda number, table: number, passage_words=passage_words)

    def shorten(self) -> None:
        """Ask for documents that stay to be cut: passages that came before, lines that pages share."""
        connection = self._connection
        for number in self._work.numbers_in_question(COPIED):
            connection.register("found", self._answer(COPIED, number, PASSAGES_FILE))
            connection.execute("insert into passages select number, word, passage from found")
        find_copied(connection, self._settings.dedup.passage_words or 0)
        find_common_lines(connection, self._boilerplate, "kept")
        find_shared_passages(connection)
        table = connection.sql(
            """select number, coalesce(keys, []) as keys, coalesce(starts, []) as starts, coalesce(ends, []) as ends
               from (select number, list(key order by key) as keys from common_lines group by number)
               full join copied using (number) order by number"""
        ).to_arrow_table()
        statistics = self._work.measures[STATISTICS].depends_on
        self._ask(SHORTENED, by_part(table), statistics=dict(statistics))

    def split(self) -> list[str]:
        """Decide the rest and ask for the corpus to be written.

        Return the sources of which the end of a document is held out that has a passage in common with another.
        """
        self._make_shortened()
        self._splits = splits_of(self._work, self._connection)
        self._make_decisions()
        settings, work = self._settings, self._work
        if settings.languages is not None:  # documents say it in their metadata
            language = f"(select number, language from {beside_texts(work, LANGUAGE)})"
            language = f"left join {language} using (number)"
        table = self._connection.sql(
            f"""select d.number, reason, because, duplicate_of, side, tail_bytes, is_short
                {", language" if settings.languages is not None else ""}
                from decisions d {language if settings.languages is not None else ""} order by d.number"""
        ).to_arrow_table()
        tables = dict(by_part(table))
        empty = table.slice(0, 0)
        empty = empty.drop_columns(["number"]).add_column(0, "record", pa.array([], pa.int64()))
        shortened = set(work.numbers_in_question(SHORTENED))

        def place_of(number: int, _: pa.Table) -> list[Any]:
            pages = work.path_of(SHORTENED, number).name if number in shortened else ""
            return [work.plan.parts[number].index, pages]

        tables_of_all = ((part.number, tables.get(part.number, empty)) for part in work.plan.parts)
        self._ask(WRITE, tables_of_all, place_of, shard_bytes=settings.shard_bytes)
        return [name for name, split in self._splits.items() if split.is_shared]

    def _make_shortened(self) -> None:
        """Make the table `shortened`: pages without common lines, with the limit that what is left breaks."""
        run, numbers = self._connection.execute, self._work.numbers_in_question(SHORTENED)
        run("create table shortened (number ubigint, bytes bigint, is_copied bool, broken int, because varchar)")
        self._short_limits = limits_of(self._settings, after_reading=False)
        for number in numbers:
            answer = self._answer(SHORTENED, number, SHORTENED_FILE, _OF_SHORTENED)
            self._connection.register("pages", numbered([(number, answer)], pa.schema({"number": pa.uint64()})))
            source = "(select p.*, kind from pages p join documents using (number))"
            rows = self._connection.sql(broken_rows(source, self._short_limits)).to_arrow_table().to_pylist()
            for row in rows:
                limit = self._short_limits[row["broken"]]
                why = because_of(limit, row, self._settings) or "nothing"
                row["because"] = f"without what others have, too: {why}"
            broken = pa.Table.from_pylist(
                [{name: row[name] for name in ("number", "broken", "because")} for row in rows],
                pa.schema({"number": pa.uint64(), "broken": pa.int32(), "because": pa.string()}),
            )
            self._connection.register("broken_pages", broken)
            run(
                """insert into shortened select number, bytes, copied_bytes > cut_bytes, broken, because
                   from pages left join broken_pages using (number)"""
            )

    def _make_decisions(self) -> None:
        """Make the table `decisions`: number, reason, because, duplicate_of, side of the split of every document."""
        run = self._connection.execute
        self._connection.register("broken_limits", self._broken_limits())
        short = pa.table(
            {
                "broken": pa.array(range(len(self._short_limits)), pa.int32()),
                "reason": [BOILERPLATE if each.reason == "empty" else each.reason for each in self._short_limits],
            }
        )
        self._connection.register("short_reasons", short)
        parts = self._work.plan.parts
        table = {
            "part": pa.array([part.number for part in parts], pa.uint64()),
            "source": [part.source for part in parts],
            "hashes_below": pa.array([self._splits[part.source].hashes_below for part in parts], pa.uint64()),
            "tail_of": pa.array([self._splits[part.source].tail_of for part in parts], pa.uint64()),
            "tail": pa.array([self._splits[part.source].tail_bytes for part in parts], pa.int64()),
        }
        self._connection.register("parts", pa.table(table))
        run(
            """create table decisions (number ubigint, reason varchar, because varchar, first ubigint,
               duplicate_of varchar, side varchar, tail_bytes bigint, is_short bool)"""
        )
        for documents in self._ranges():  # five tables joined whole, of many documents, don't fit
            within = {
                name: f"(from {name} where number between {documents.start} and {documents.stop - 1})"
                for name in ("documents", "broken_limits", "copies", "near", "kept", "shortened", "sharing")
            }
            run(
                f"""insert into decisions select d.number,
                    coalesce(b.reason, if(coalesce(c.first, n.first) >= {EARLIER}, '{EARLIER_DUPLICATE}', null),
                             if(c.first is not null, '{EXACT_DUPLICATE}', null),
                             if(n.first is not null, '{NEAR_DUPLICATE}', null),
                             if(r.reason = '{BOILERPLATE}' and is_copied, '{COPIED_PASSAGES}', r.reason)) as reason,
                    coalesce(b.because, if(c.first >= {EARLIER}, 'the same words', null),
                             if(n.first >= {EARLIER}, 'nearly the same, as its signature says', null),
                             if(s.broken is not null, s.because, null), ''),
                    coalesce(c.first, n.first), null,
                    case when tail_of = d.number and (s.number is null or s.bytes > 2 * tail) then 'both'
                         when k.split_hash is null then null
                         when k.split_hash < hashes_below and d.number not in (select number from {within["sharing"]})
                         then '{_SIDES[1]}' else '{_SIDES[0]}' end,
                    if(tail_of = d.number, tail, 0), s.number is not null
                    from {within["documents"]} d join parts p on p.part = d.number >> {RECORD_BITS}
                    left join {within["broken_limits"]} b using (number) left join {within["copies"]} c using (number)
                    left join {within["near"]} n using (number) left join {within["kept"]} k using (number)
                    left join {within["shortened"]} s using (number) left join short_reasons r on r.broken = s.broken
                    order by d.number"""
            )
        run(
            f"""update decisions set duplicate_of = names.name from (
                 select f.first, p.source || ' ' || t.id as name from (select distinct first from decisions) f
                 join texts t on t.number = f.first join parts p on p.part = f.first >> {RECORD_BITS}
                 union all select number, name from earlier where number in (select first from decisions)) names
               where decisions.first = names.first"""
        )
        run("update decisions set side = null where reason is not null")

    def _ranges(self) -> Iterator[range]:
        """Yield ranges of numbers that hold all documents, each those of slices with about _DOCUMENTS_AT_ONCE."""
        start = count = 0
        rows = self._connection.execute(
            f"select number >> {RECORD_BITS} as part, count(*) from documents group by part order by part"
        ).fetchall()
        for part, documents in rows:
            count += documents
            if count >= _DOCUMENTS_AT_ONCE:
                yield range(start, (part + 1) << RECORD_BITS)
                start, count = (part + 1) << RECORD_BITS, 0
        yield range(start, EARLIER)

    def _broken_limits(self) -> pa.Table:
        """Return the documents that break a limit, with reason and what decided."""
        broken = "(select number, broken from documents where broken is not null)"
        texts = f"({beside_texts(self._work, *measures_of_limits(self._work))})"
        source = f"(select t.*, d.broken from {texts} t join {broken} d using (number))"
        reader = self._connection.sql(broken_rows(source, self._limits, is_known=True)).to_arrow_reader(_ROWS_AT_ONCE)
        tables, schema = [], pa.schema({"number": pa.uint64(), "reason": pa.string(), "because": pa.string()})
        named = self._named_licences if any(limit.reason == NOT_ALLOWED for limit in self._limits) else {}
        for batch in reader:
            found = []
            for row in batch.to_pylist():
                limit = self._limits[row["broken"]]
                because = because_of(limit, row, self._settings, named.get(row["number"], ""))
                found.append({"number": row["number"], "reason": limit.reason, "because": because})
            tables.append(pa.Table.from_pylist(found, schema))
        return pa.concat_tables([schema.empty_table(), *tables])

    @cached_property
    def _named_licences(self) -> dict[int, str]:
        """Return the names of licences that weren't understood, of documents that have one."""
        found = dict[int, str]()
        for part in self._work.plan.parts:
            folder = self._work.path_of(TEXTS, part.number)
            metas = self._work.table(folder, self._work.documents_file, ["meta"]).column("meta").to_pylist()
            for record, meta in enumerate(metas):
                if '"licence_named"' in meta and (name := json.loads(meta).get("licence_named")):
                    found[(part.number << RECORD_BITS) + record] = name
        return found

    def noted(self) -> dict[str, dict[str, int]]:
        """Return how many documents each licence cost that isn't allowed, as words of corpus.findings."""
        counts: dict[str, int] = {}
        rows = self._connection.execute(
            f"select d.number, licence from decisions d join texts using (number) where reason = '{NOT_ALLOWED}'"
        ).fetchall()
        for number, licence in rows:
            word = "not_understood" if number in self._named_licences else licence.replace(" ", "_")
            counts[word] = counts.get(word, 0) + 1
        return {NOT_ALLOWED: counts} if counts else {}


def broken_rows(source: str, limits: list[Limit], is_known: bool = False) -> str:
    """Return the query of all rows of `source` that break a limit, with value and limit."""
    broken = "broken" if is_known else f"{broken_limit(limits)} as broken"
    return f"""select *, {value_and_limit(limits)} from (
        select m.*{"" if is_known else f", {broken}"}, {_limit_columns(limits)}
        from {source} m left join limits l
        on l.of_family is not distinct from m.family and l.of_usual is not distinct from m.usual) l
        where broken is not null order by number"""


def _limit_columns(limits: list[Limit]) -> str:
    settings = dict.fromkeys(limit.setting for limit in limits if limit.setting)
    return ", ".join(f"l.{quoted(name)} as {limit_column(name)}" for name in settings) or "null as no_limit"
