from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_order import permuted

from headwater.tokens.batches.order import mix64, order_key, permute

keys = st.integers(0, (1 << 64) - 1)


def test_the_hash_is_splitmix64():
    # the first outputs of the reference generator (Vigna's splitmix64.c) for seed 0 and 1234567
    golden = 0x9E3779B97F4A7C15
    assert [mix64(golden * step) for step in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [mix64(1234567 + golden * step) for step in range(2)] == [6457827717110365317, 3203168211198807973]


def test_the_order_is_this_on_every_machine():
    assert order_key(1, "books", 0) == 7273235336484982316
    assert order_key(-1, "bücher", 3) == 6579723977856465975
    assert permute(10, order_key(1, "books", 0), np.arange(10)).tolist() == [4, 6, 5, 3, 8, 1, 9, 7, 0, 2]
    assert permute(1000, order_key(1, "books", 1), np.arange(6)).tolist() == [213, 892, 156, 862, 77, 777]
    big = permute(10**12, order_key(2, "code", 0), np.arange(3)).tolist()
    assert big == [754576509911, 765828130413, 4046355053]


@given(st.integers(1, 1 << 42), keys, st.data())
def test_it_is_that_of_a_plain_account_one_index_at_a_time(n, key, data):
    indices = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    assert permute(n, key, np.array(indices, dtype=np.int64)).tolist() == [permuted(n, key, each) for each in indices]


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_is_an_error(index):
    with pytest.raises(IndexError):
        permute(5, 1, np.array([index]))
