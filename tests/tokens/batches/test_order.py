from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_order import permuted

from headwater.tokens.batches.order import mix64, mix64_array, order_key, permute

keys = st.integers(0, (1 << 64) - 1)


def test_the_hash_is_splitmix64():
    # the first outputs of the reference generator (Vigna's splitmix64.c) for seed 0 and 1234567
    golden = 0x9E3779B97F4A7C15
    assert [mix64(golden * step) for step in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [mix64(1234567 + golden * step) for step in range(2)] == [6457827717110365317, 3203168211198807973]


@given(st.lists(keys))
def test_the_hash_of_an_array_is_that_of_its_elements(values):
    assert mix64_array(np.array(values, dtype=np.uint64)).tolist() == [mix64(value) for value in values]


def test_the_order_is_this_on_every_machine():
    assert order_key(1, "books", 0) == 7273235336484982316
    assert order_key(-1, "bücher", 3) == 6579723977856465975
    assert permute(10, order_key(1, "books", 0), np.arange(10)).tolist() == [4, 6, 5, 3, 8, 1, 9, 7, 0, 2]
    assert permute(1000, order_key(1, "books", 1), np.arange(6)).tolist() == [213, 892, 156, 862, 77, 777]
    big = permute(10**12, order_key(2, "code", 0), np.arange(3)).tolist()
    assert big == [754576509911, 765828130413, 4046355053]


@given(st.integers(1, 3000), keys)
def test_it_is_a_permutation(n, key):
    assert np.array_equal(np.sort(permute(n, key, np.arange(n))), np.arange(n))


@given(st.integers(1, 1 << 42), keys, st.data())
def test_it_is_that_of_a_plain_account_one_index_at_a_time(n, key, data):
    indices = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    assert permute(n, key, np.array(indices, dtype=np.int64)).tolist() == [permuted(n, key, each) for each in indices]


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_is_an_error(index):
    with pytest.raises(IndexError):
        permute(5, 1, np.array([index]))


def test_seed_source_and_epoch_each_change_the_order():
    inputs = [(seed, source, epoch) for seed in (0, 1) for source in ("a", "b", "ab") for epoch in (0, 1, 97)]
    orders = {tuple(permute(50, order_key(*each), np.arange(50)).tolist()) for each in inputs}
    assert len(orders) == len(inputs)


def test_every_place_is_equally_likely():
    # chi-squared over where index 0 of 10 goes, for 4,000 keys: 9 degrees of freedom, 1 in 10^5 lies above 39.3
    counts = Counter(permuted(10, order_key(seed, "s", 0), 0) for seed in range(4000))
    chi_squared = sum((counts[place] - 400) ** 2 / 400 for place in range(10))
    assert chi_squared < 39.3, counts


def test_neighbours_do_not_stay_neighbours():
    n = 10_000
    places = permute(n, order_key(5, "s", 0), np.arange(n))
    assert abs(np.corrcoef(np.arange(n), places)[0, 1]) < 0.05
    # in a random order about 2 of the n - 1 pairs remain neighbours
    assert np.count_nonzero(np.abs(np.diff(places)) == 1) < 15
