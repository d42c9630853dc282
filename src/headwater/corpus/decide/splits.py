"""The split of every source, made from the hashes and sizes of its documents."""

from __future__ import annotations

import duckdb
import numpy as np

from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.corpus.split import NEVER_HELD_OUT, Split, SplitTally
from headwater.corpus.tasks.work import RECORD_BITS, Work

_ROWS_AT_ONCE = 1 << 20


def splits_of(work: Work, connection: duckdb.DuckDBPyConnection) -> dict[str, Split]:
    """Return the split of every source, of the documents in `kept`; those in `sharing` are never held out.

    A split that rests on few documents of which lines are cut gives way to that of those kept whole: too little of
    them may stay.
    """
    settings = work.plan.settings
    whole = {name for name, source in settings.sources.items() if source.kind == CONVERSATIONS}
    tallies = [
        {source: SplitTally(settings.validation_fraction, source in whole) for source in settings.sources}
        for _ in range(2)
    ]
    sources = np.array([part.source for part in work.plan.parts])
    reader = connection.sql(
        f"""select number, if(number in (select number from sharing), {NEVER_HELD_OUT}::ubigint, split_hash) as hash,
            text_bytes, number in (select number from common_lines union all select number from copied) as is_cut
            from kept order by number"""
    ).to_arrow_reader(_ROWS_AT_ONCE)
    for batch in reader:
        numbers, hashes, sizes, is_cut = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        of_source = sources[numbers >> np.uint64(RECORD_BITS)]
        for source in np.unique(of_source).tolist():
            for chosen, tally in zip((of_source == source, (of_source == source) & ~is_cut.astype(bool)), tallies):
                tally[source].add_(numbers[chosen].astype(np.int64), hashes[chosen], sizes[chosen].astype(np.uint64))
    return {name: _safer(*(tally[name].split() for tally in tallies)) for name in settings.sources}


def _safer(split: Split, split_of_whole: Split) -> Split:
    is_safe = split.hashes_below and not split.is_last_resort
    return split if is_safe or split_of_whole == Split() else split_of_whole
