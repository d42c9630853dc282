"""Passages that kept documents share word for word: where each stood before, in the order of reading."""

from __future__ import annotations

import duckdb


def find_repeated_keys(connection: duckdb.DuckDBPyConnection, is_wanted: bool) -> None:
    """Make the table `repeated_keys`: documents of `kept`, each with keys of its passages that are there twice."""
    connection.execute("create table repeated_keys (number ubigint, keys ubigint[])")
    connection.execute("create table passages (number ubigint, word bigint, passage ubigint)")
    if is_wanted:
        connection.execute(
            """insert into repeated_keys with noted as (
                   select number, unnest(fingerprints) as key
                   from (texts positional join measure_passages) semi join kept using (number))
               select number, list(distinct key order by key) from noted
               semi join (select key from noted group by key having count(*) > 1) using (key)
               group by number order by number"""
        )


def find_copied(connection: duckdb.DuckDBPyConnection, passage_words: int) -> None:
    """Make the table `copied`: documents with those of their words, from and to, that stood before as a passage.

    `passages` has the passages that may be in it: each but the first of the same is.
    """
    connection.execute(
        f"""create table copied as with repeated as (
                select number, word from passages
                qualify row_number() over (partition by passage order by number, word) > 1),
            stretches as (
                select number, min(word) as start, max(word) + {passage_words} as until from (
                    select number, word, word - row_number() over (partition by number order by word) as stretch
                    from repeated)
                group by number, stretch)
            select number, list(start order by start) as starts, list(until order by start) as ends
            from stretches group by number"""
    )
