"""Documents that earlier corpora keep: they count as read before all others, so that none is kept again.

An earlier build left their keys beside its corpus. Their texts may be gone: a pair of which one is earlier is settled
by signatures alone.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.decide.columns import NUMBER, at_hand, numbered, rows_of_files, work_of
from headwater.corpus.decide.duplicates import EARLIER, OWN_SCHEMA
from headwater.corpus.load import corpus_of, files_in
from headwater.corpus.measures.chosen import KEYS
from headwater.corpus.shards import DECISIONS
from headwater.corpus.tasks.columns import COLUMNS_FILE
from headwater.corpus.tasks.pages import OWN_FILE
from headwater.corpus.tasks.work import OWN, RECORD_BITS, Work

REASON = "earlier_duplicate"
_ALIKE = ("version", "shingle_words", "num_bands", "rows_per_band")  # what keys that are compared have in common


def open_earlier(work: Work, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Make the views `earlier`, keys of what earlier corpora keep, and `all_keys`; return the bands of pages' own text.

    Raises DataError where an earlier corpus' work is gone, ConfigError where its keys can't be compared.
    """
    keys, decisions, own, names = list[Path](), list[Path](), list[tuple[int, pa.Table]](), list[str]()
    for name in work.plan.settings.dedup.earlier:
        corpus_dir = corpus_of(Path(name))
        before = work_of(corpus_dir)
        _require_comparable(name, before, work)
        first = (EARLIER >> RECORD_BITS) + len(keys)
        for part in before.plan.parts:
            keys += at_hand(before, [before.columns_of_build(part.number)[KEYS] / COLUMNS_FILE])
            names.append(f"{name} {part.source}")
            if not keys[-1].is_file():
                raise DataError(f"corpus.dedup.earlier: {keys[-1]} of {name} is gone; build {name} again")
        for source in dict.fromkeys(part.source for part in before.plan.parts):
            decisions += files_in(corpus_dir, f"{DECISIONS}/{source}")
        pages = before.numbers_in_question(OWN)
        own += [(first + number, before.table(before.path_of(OWN, number), OWN_FILE)) for number in pages]
    chosen = "number, digest_high, digest_low, bands, signature"
    files = pa.table({"file": pa.array(range(len(names)), pa.uint64()), "name": pa.array(names, pa.string())})
    connection.register("earlier_files", files)
    if keys:
        connection.execute(
            f"""create view earlier as select {chosen.replace("number", f"number + {EARLIER}::ubigint as number")},
                name || ' ' || id as name from (
                (select {NUMBER}, * from {rows_of_files(keys, ", file_row_number = true")})
                positional join (select id, reason from {rows_of_files(decisions)}))
                join earlier_files on file = number >> {RECORD_BITS} where reason is null"""
        )
    else:
        connection.execute(f"create view earlier as select {chosen}, '' as name from keys where false")
    connection.execute(f"create view all_keys as select {chosen} from keys union all select {chosen} from earlier")
    return numbered(own, OWN_SCHEMA)


def _require_comparable(name: str, before: Work, work: Work) -> None:
    mine, theirs = work.plan.settings.dedup, before.plan.settings.dedup
    if mine.near and not (theirs.near and set(theirs.near_exempt_kinds) <= set(mine.near_exempt_kinds)):
        raise ConfigError(
            f"corpus.dedup.earlier: {name} was built without keys for near duplicates of all that are looked for here; "
            "set corpus.dedup.near and near_exempt_kinds as it has them, or build it again with those of here"
        )
    if before.folder.parent.resolve() == work.folder.parent.resolve():
        raise ConfigError(f"corpus.dedup.earlier: {name} is the corpus that is built; leave it out")
    here, there = work.measures[KEYS].depends_on, before.noted_measures[KEYS]
    if differing := [key for key in _ALIKE if here[key] != there[key]]:
        raise ConfigError(
            f"corpus.dedup.earlier: keys of {name} were made with another {differing[0]} ({there[differing[0]]}, here "
            f"{here[differing[0]]}), and can't be compared; set corpus.dedup as {name} has it, or build that again"
        )
