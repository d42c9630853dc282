"""What strangers wrote doesn't stay in memory when the next record is read."""

from __future__ import annotations

import tracemalloc

import pytest

from headwater.corpus.licences.names import spdx_of
from headwater.corpus.read.html_blocks import marks_of


def _element_of_a_long_class(number):
    marks_of("div", f' class="{number} {"x" * 200_000}"')


def _long_licence(number):
    spdx_of(f"{number} " + "x" * 200_000)


@pytest.mark.parametrize("read", [_element_of_a_long_class, _long_licence])
def test_what_is_long_is_not_kept_behind_its_record(read):
    read(0)
    tracemalloc.start()
    try:
        for number in range(1, 16):
            read(number)
        num_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert num_bytes < 200_000
