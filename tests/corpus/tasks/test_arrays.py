from __future__ import annotations

import os

import numpy as np
import pytest
from headwater.corpus.tasks.arrays import ArrayFile, Stream, write_arrays, write_streams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import DataError
from headwater.core.files import digest_file

KEYS = np.dtype([("key", "<u8"), ("at", "<u4")])


def table(keys):
    rows = np.empty(len(keys), KEYS)
    rows["key"], rows["at"] = sorted(keys), range(len(keys))
    return rows


def test_what_is_written_in_pieces_is_the_same_file_as_what_is_written_whole(tmp_path):
    rows, numbers = table([7, 7, 2, 2**64 - 1, 0]), np.arange(1000, dtype=np.uint16)
    whole = write_arrays(tmp_path / "whole", {"rows": rows, "numbers": numbers, "none": numbers[:0]})
    streams = {
        "rows": Stream(KEYS, 5, iter([rows[:2], rows[2:2], rows[2:]])),
        "numbers": Stream(numbers.dtype, 1000, iter([numbers[:999], numbers[999:]])),
        "none": Stream(numbers.dtype, 0, []),
    }
    assert write_streams(tmp_path / "pieces", streams) == whole == digest_file(tmp_path / "whole")
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    file = ArrayFile(tmp_path / "pieces")
    assert file.tables == ["rows"]
    assert "none" in file and "other" not in file
    np.testing.assert_array_equal(file.map("rows"), rows)
    np.testing.assert_array_equal(file.map("rows", 1, 3), rows[1:3])
    np.testing.assert_array_equal(file.map("numbers", 990), numbers[990:])
    assert len(file.map("none")) == len(file.map("numbers", 5, 5)) == 0


def test_fewer_rows_than_were_announced_are_our_own_mistake(tmp_path):
    with pytest.raises(AssertionError, match="2 rows came, 3 were announced"):
        write_streams(tmp_path / "file", {"rows": Stream(KEYS, 3, [table([1, 2])])})


EDGES = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1])
NUMBERS = EDGES | st.integers(0, 2**64 - 1) | st.integers(0, 20)


@given(st.lists(NUMBERS, max_size=40), st.tuples(NUMBERS | st.just(2**64), NUMBERS | st.just(2**64)))
@settings(suppress_health_check=list(HealthCheck), max_examples=150, deadline=None)
def test_a_range_of_a_table_is_what_a_scan_of_every_row_gives(tmp_path_factory, keys, bounds):
    path = tmp_path_factory.mktemp("arrays") / "file"
    rows = table(keys)
    write_arrays(path, {"numbers": np.zeros(3, dtype=np.uint8), "rows": rows})
    low, high = sorted(bounds)
    found = ArrayFile(path).between("rows", low, high)
    assert found.tolist() == [row for row in rows.tolist() if low <= row[0] < high]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"\xff" * 8 + data[8:], lambda data: b"\0" * 100])
def test_a_file_that_is_not_one_is_named(tmp_path, damage):
    write_arrays(tmp_path / "file", {"rows": table([1, 2])})
    (tmp_path / "file").write_bytes(damage((tmp_path / "file").read_bytes()))
    with pytest.raises(DataError, match=r"file can't be read .*remove its folder"):
        ArrayFile(tmp_path / "file")


@pytest.mark.parametrize("num_bytes", [6000, 12_100])
def test_a_file_that_was_cut_off_is_named_before_rows_are_requested(tmp_path, num_bytes):
    write_arrays(tmp_path / "file", {"numbers": np.zeros(3, dtype=np.uint8), "rows": table(range(1000))})
    os.truncate(tmp_path / "file", num_bytes)
    with pytest.raises(DataError, match=f"can't be read .*cut off.* the file at {num_bytes:,}"):
        ArrayFile(tmp_path / "file")


@pytest.mark.parametrize("ask", [lambda file: file.between("rows", 5, 10), lambda file: file.map("rows", 5, 10)])
def test_a_file_that_is_cut_off_while_it_is_at_hand_is_named_too(tmp_path, ask):
    write_arrays(tmp_path / "file", {"rows": table(range(1000))})
    file = ArrayFile(tmp_path / "file")
    os.truncate(tmp_path / "file", 100)
    with pytest.raises(DataError, match="can't be read"):
        ask(file)
