from __future__ import annotations

import numpy as np
import pytest
from headwater.corpus.tasks.arrays import ArrayFile, write_arrays
from headwater.corpus.tasks.merge import MergePlan, Table, merged
from headwater.corpus.tasks.segments import KEYS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.corpus.tasks import merge


def written(folder, number, keys, first):
    """Write a table of sorted keys, whose places count on from `first`; return it as it is merged, and its rows."""
    rows = np.empty(len(keys), KEYS)
    rows["key"], rows["at"] = np.sort(np.array(keys, dtype=np.uint64)), range(len(keys))
    write_arrays(folder / f"{number}", {"rows": rows})
    shifted = rows.copy()
    shifted["at"] += first
    return Table(ArrayFile(folder / f"{number}"), "rows", first), shifted


FEW = st.integers(0, 3) | st.sampled_from([2**63, 2**64 - 1])
KEY_LISTS = st.lists(st.lists(FEW, max_size=25) | st.lists(st.integers(0, 2**64 - 1), max_size=25), max_size=7)


@given(KEY_LISTS, st.integers(1, 40))
@settings(suppress_health_check=list(HealthCheck), max_examples=150, deadline=None)
def test_the_merge_is_a_stable_sort_of_all_rows(tmp_path_factory, lists, rows_at_once):
    folder, first, tables, rows = tmp_path_factory.mktemp("merge"), 0, [], [np.empty(0, KEYS)]
    for number, keys in enumerate(lists):
        table, shifted = written(folder, number, keys, first)
        tables.append(table)
        rows.append(shifted)
        first += len(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "ROWS_AT_ONCE", rows_at_once)
        pieces = list(merged(tables))
    every = np.concatenate(rows)
    expected = every[np.argsort(every["key"], kind="stable")]
    assert np.concatenate([np.empty(0, KEYS), *pieces]).tolist() == expected.tolist()
    most = max(rows_at_once, len(tables))
    assert all(len(piece) <= most for piece in pieces), "more rows are held than may be"


def made_in_order(folder, order):
    """Write 8 tables of 500 rows each, by how their keys lie to each other; return them with their rows."""
    chance = np.random.default_rng(0)
    keys = {
        "alike": lambda number: chance.integers(0, 2**63, 500),
        "one after another": lambda number: np.arange(500) + 500 * number,
        "one key": lambda number: np.full(500, 7),
    }[order]
    return [written(folder, number, keys(number), 500 * number) for number in range(8)]


ORDERS = ["alike", "one after another", "one key"]


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_the_keys_are_few_rows_are_held(tmp_path, monkeypatch, order):
    monkeypatch.setattr(merge, "ROWS_AT_ONCE", 80)
    made = made_in_order(tmp_path, order)
    sizes = [len(piece) for piece in merged([table for table, _ in made])]
    assert sum(sizes) == 4000
    assert max(sizes) <= 80
    # a piece has all but the last row of some table's window, so that rows aren't looked at again and again
    assert len(sizes) <= 4000 // 9 + 8


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_the_keys_are_rows_are_read_about_twice(tmp_path, monkeypatch, order):
    monkeypatch.setattr(merge, "ROWS_AT_ONCE", 400)
    read, rows_of = [], Table.rows

    def noted(table, start, end):
        rows = rows_of(table, start, end)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Table, "rows", noted)
    made = made_in_order(tmp_path, order)
    assert sum(len(piece) for piece in merged([table for table, _ in made])) == 4000
    assert sum(read) < 2.5 * 4000, f"{sum(read)} rows were read of 4,000"


@given(st.integers(0, 50_000), st.integers(1, 40), st.integers(2, 12))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_file_is_merged_once_a_level_until_few_are_left(num_files, most_files, most_merged):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "MOST_FILES", most_files)
        patch.setattr(merge, "MOST_MERGED", most_merged)
        plan = MergePlan(num_files)
    assert plan.num_files <= most_files
    assert plan.num_levels == 0 or num_files > most_files, "few files are merged"
    numbers, count = [], num_files
    for level in range(1, plan.num_levels + 1):
        tasks = plan.tasks(level)
        numbers += tasks
        taken = []
        for number in tasks:
            of_level, places = plan.inputs(number)
            assert of_level == level - 1
            assert 1 <= len(places) <= most_merged
            taken += places
        assert taken == list(range(count)), f"level {level} leaves a file out, or has one twice"
        count = len(tasks)
    assert count == plan.num_files
    assert numbers == list(range(len(numbers))), "the tasks of all levels are numbered through"
    ends = [plan.origins(plan.num_levels, index) for index in range(plan.num_files)]
    assert [place for start, end in ends for place in range(start, end)] == list(range(num_files))


@pytest.mark.parametrize(("num_files", "levels"), [(256, 0), (257, 1), (15_625, 1), (339_000, 2), (1_562_500, 2)])
def test_a_hundred_terabytes_are_merged_in_two_levels(num_files, levels):
    assert MergePlan(num_files).num_levels == levels
