"""A banner of a million pages is one key: what a task of the search holds must not grow with it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from headwater.corpus.tasks.arrays import ArrayFile, write_arrays
from headwater.corpus.tasks.results import table_of
from headwater.corpus.tasks.runs import SortedRun
from headwater.corpus.tasks.segments import DIGESTS, KEYS, LINE_KEYS, Flags, flag_ranges, write_flags
from small_pieces import cut_into_pieces

from headwater.corpus.tasks import exact, near, repeats
from headwater.corpus.tasks.work import Output

EVERY_KEY = (0, 2**64)


def runs_of(folder, keys, sizes):
    """Write runs of so many documents, a key a document, and flags of none; return both."""
    made, start = [], 0
    for index, size in enumerate(sizes):
        own = keys[start : start + size]
        order = np.argsort(own, kind="stable")
        tables = {
            "exact": table_of(DIGESTS, own[order], own[order] % 2, order),
            "band0": table_of(KEYS, own[order], order),
            "lines": table_of(LINE_KEYS, own[order], order, np.full(size, 9)),
        }
        write_arrays(folder / f"run-{index}", tables)
        made.append(SortedRun(start, start + size, ArrayFile(folder / f"run-{index}")))
        start += size
    for first, end in flag_ranges(start):
        write_flags(Output(folder), first, np.zeros(end - first, dtype=np.uint8))
    return made, Flags(folder)


def pairs(made, flags):
    return near._pairs(near._rows_of_band(made, "band0", EVERY_KEY, flags))


def copies(made, flags):
    return exact._copies(made, EVERY_KEY)


def counts(made, flags):
    yield repeats._counts(repeats._rows(made, EVERY_KEY, flags))


def cuts(made, flags):
    return repeats._having(repeats._rows(made, EVERY_KEY, flags), np.array([7], dtype=np.uint64))


def by_row(rows):
    return sorted(map(tuple, np.asarray(rows).T.tolist()))


def together(pieces):
    return by_row(np.concatenate([np.stack(piece) for piece in pieces], axis=1))


@pytest.mark.parametrize("search", [pairs, copies, counts, cuts])
def test_what_is_held_does_not_grow_with_the_rows_of_one_key(tmp_path, monkeypatch, search):
    cut_into_pieces(monkeypatch, SLICE_ROWS=500, _BATCH_ROWS=1000)
    peaks = []
    for count in (10_000, 40_000):
        (tmp_path / f"{count}").mkdir()
        made, flags = runs_of(tmp_path / f"{count}", np.full(count, 7, dtype=np.uint64), [count])
        tracemalloc.start()
        for _ in search(made, flags):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0], f"{peaks} bytes for one and four times the rows"


@pytest.mark.parametrize("num_rows", [1, 3, 7, 40, 10_000])
def test_rows_in_slices_give_what_a_scan_of_all_of_them_does(tmp_path, monkeypatch, num_rows):
    keys = np.random.default_rng(num_rows).choice(np.array([1, 7, 7, 7, 2**63, 2**64 - 1], dtype=np.uint64), 300)
    cut_into_pieces(monkeypatch, SLICE_ROWS=num_rows, _BATCH_ROWS=2 * num_rows)
    made, flags = runs_of(tmp_path, keys, [1, 180, 0, 119])
    by_key = {int(key): np.flatnonzero(keys == key).tolist() for key in np.unique(keys)}
    expected = [
        (later, earlier)
        for group in by_key.values()
        for at, later in enumerate(group)
        for earlier in sorted({*group[: min(at, near.FIRST_OF_GROUP)], *group[max(at - 1, 0) : at]})
    ]
    assert together(pairs(made, flags)) == sorted(expected)
    firsts = [(later, group[0]) for group in by_key.values() for later in group[1:]]
    assert together(copies(made, flags)) == sorted(firsts)
    ((found, how_often, groups),) = counts(made, flags)
    assert dict(zip(found.tolist(), how_often.tolist())) == {key: len(group) for key, group in by_key.items()}
    assert set(groups.tolist()) == {9}
    assert together(cuts(made, flags)) == [(number, 7) for number in by_key[7]]
