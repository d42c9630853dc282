"""Duplicates, lines that a site's pages share, and passages that documents share: by keys, in SQL.

Two documents that share the key of a band are candidates for near duplicates. A group that shares a key may be large
(pages of one site), and its pairs are the square of it: a document is paired with the first 16 of its group, where
the one that is kept most likely is, and with the one just before it, which is the closest where a text changes from
version to version.
"""

from __future__ import annotations

from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
from scipy.special import bdtr, bdtrc  # scipy.stats takes half a second, and 50 MB

from headwater.corpus.sources.rules import BoilerplateSettings
from headwater.corpus.sources.settings import DedupSettings

FIRST_OF_GROUP = 16
MOST_SHARING = 8  # documents that have a passage in common: more have a notice or a form, which ties nothing
# pages of one site may share most of their words with hundreds of others and be no duplicates; those that share the
# most bands are compared, since a true duplicate shares more than others
MAX_COMPARED = 32
EARLIER = 1 << 63  # documents of earlier corpora have numbers from here on, and are the first in every order
_IN_ORDER = f"number < {EARLIER}, number"
_MAX_WRONG = 1e-6  # the probability with which signatures may settle a pair that the texts would settle otherwise
_PAIRS_AT_ONCE = 100_000
OWN_SCHEMA = pa.schema({"number": pa.uint64(), "bands": pa.list_(pa.uint64()), "signature": pa.binary()})


def find_copies(connection: duckdb.DuckDBPyConnection, is_wanted: bool) -> None:
    """Make the table `copies`: documents of `passed` whose words an earlier one has, and the first of these."""
    condition = f"first <> number and number < {EARLIER}" if is_wanted else "false"
    connection.execute(
        f"""create table copies as select number, first from (
            select number, first_value(number) over (partition by digest_high, digest_low order by {_IN_ORDER}) as first
            from all_keys semi join passed using (number)) where {condition}"""
    )


def find_common_lines(connection: duckdb.DuckDBPyConnection, settings: BoilerplateSettings | None, of: str) -> None:
    """Make the table `common_lines`: number and key of lines that enough pages of their site in the table `of` have."""
    connection.execute("create or replace table common_lines (number ubigint, key ubigint)")
    if settings is None:
        return
    connection.execute(
        f"""create or replace temp table page_lines as
            select number, unnest(lines) as key, site from keys semi join {of} using (number) where site <> 0"""
    )
    connection.execute(
        f"""insert into common_lines select number, key from page_lines semi join (
            select key from (select key, count(*) as pages, any_value(site) as site from page_lines group by key)
            join (select site, count(distinct number) as of_site from page_lines group by site) using (site)
            where pages >= greatest({settings.min_pages}, ceil({settings.min_share!r} * of_site - 1e-9))
        ) using (key) order by number, key"""
    )
    connection.execute("drop table page_lines")


def find_pairs(connection: duckdb.DuckDBPyConnection, own: pa.Table) -> None:
    """Make the table `pairs`: later and earlier document of `compared` that share bands, and how many these are.

    `own` has the bands of pages' own text, without the lines that their site's pages share.
    """
    connection.register("own_bands", own)
    connection.execute(
        f"""create or replace temp table ranked as select *, row_number() over of_band as rank from (
            select distinct number, band, key from (
                select number, generate_subscripts(bands, 1) as band, unnest(bands) as key
                from all_keys semi join compared using (number)
                union all select number, generate_subscripts(bands, 1), unnest(bands) from own_bands)
            qualify count(*) over (partition by band, key) > 1)
            window of_band as (partition by band, key order by {_IN_ORDER})"""
    )
    connection.execute(
        f"""create table all_pairs as select later, earlier, count(*) as shared from (
            select a.number as later, b.number as earlier from ranked a
            join (from ranked where rank <= {FIRST_OF_GROUP}) b
            on a.band = b.band and a.key = b.key and b.rank < a.rank
            union all
            select number, before from (select number, rank, lag(number) over (partition by band, key order by rank)
                as before from ranked) where rank > {FIRST_OF_GROUP} + 1)
            where later < {EARLIER} group by later, earlier"""
    )
    connection.execute("drop table ranked")
    connection.execute(
        f"""create table pairs as select later, earlier from all_pairs
            qualify row_number() over (partition by later order by shared desc, earlier) <= {MAX_COMPARED}
            order by later, earlier"""
    )
    connection.execute("create table doubtful as select distinct later as number from all_pairs")


def settle_by_signatures(connection: duckdb.DuckDBPyConnection, settings: DedupSettings) -> None:
    """Split `pairs` into `alike` and `unsure`, as far as signatures say it; what surely isn't similar is neither.

    Pages that share lines with their site are alike by their own text; unlike only if the whole is unlike, too. Of a
    pair with a document of an earlier corpus, whose text may be gone, the similarity that signatures estimate decides.
    """
    connection.execute("create table alike (later ubigint, earlier ubigint)")
    connection.execute("create table unsure (later ubigint, earlier ubigint)")
    reader = connection.sql(
        """select later, earlier, coalesce(c.signature, a.signature) as one,
           coalesce(d.signature, b.signature) as other, a.signature as whole_one, b.signature as whole_other
           from pairs join all_keys a on later = a.number join all_keys b on earlier = b.number
           left join own_bands c on later = c.number left join own_bands d on earlier = d.number"""
    ).to_arrow_reader(_PAIRS_AT_ONCE)
    count = settings.num_bands * settings.rows_per_band
    low, high = settled_by(count, settings.min_similarity)
    writer = connection.cursor()  # a connection of its own, since this one is being read
    for batch in reader:
        own, whole = _num_equal(batch, "one", "other", count), _num_equal(batch, "whole_one", "whole_other", count)
        is_earlier = batch.column("earlier").to_numpy() >= np.uint64(EARLIER)
        is_alike = (own >= high) | (is_earlier & (own >= count * equal_bytes(settings.min_similarity)))
        is_unlike = is_earlier | ((own <= low) & (whole <= low))
        pairs = pa.table({name: batch.column(name) for name in ("later", "earlier")})
        for name, chosen in (("alike", is_alike), ("unsure", ~is_alike & ~is_unlike)):
            writer.register("found", pairs.filter(pa.array(chosen)))
            writer.execute(f"insert into {name} select later, earlier from found")


def _num_equal(batch: pa.RecordBatch, one: str, other: str, count: int) -> np.ndarray:
    first, second = (np.frombuffer(b"".join(batch.column(name).to_pylist()), np.uint8) for name in (one, other))
    return (first.reshape(-1, count) == second.reshape(-1, count)).sum(axis=1)


def equal_bytes(similarity: float) -> float:
    """Return the share of equal bytes in the signatures of texts that are so similar."""
    return similarity + (1 - similarity) / 256  # of unlike minima one in 256 has the same lowest byte


@cache
def settled_by(count: int, min_similarity: float) -> tuple[int, int]:
    """Return how many of `count` equal bytes at most say that two texts aren't similar, and how many at least that
    they are.
    """
    equal = equal_bytes(min_similarity)
    numbers = np.arange(count + 1)
    low = int(np.flatnonzero(bdtr(numbers, count, equal) < _MAX_WRONG).max(initial=-1))
    high = int(np.flatnonzero(bdtrc(numbers - 1, count, equal) < _MAX_WRONG).min(initial=count + 1))
    return low, high


def near_duplicates(later: np.ndarray, earlier: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the documents that are similar to an earlier one that stays, and the first such; pairs are in order."""
    dropped: dict[int, int] = {}
    for one, other in zip(later.tolist(), earlier.tolist()):
        if one not in dropped and other not in dropped:
            dropped[one] = other
    return list(dropped), list(dropped.values())


def find_shared_passages(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table `sharing`: documents of `kept` that have a passage in common with few others, as editions do."""
    connection.execute(
        f"""create table sharing as select distinct number from (
            select number, key, count(*) over (partition by key) as documents from (
                select number, unnest(passages) as key from keys semi join kept using (number)))
            where documents between 2 and {MOST_SHARING}"""
    )
