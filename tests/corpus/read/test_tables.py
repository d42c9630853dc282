"""Tables: what JSON can't say of them, and what is damaged (the rest is in `tests/golden/read/tables.toml`)."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import arrow, parquet, rows_as, table_of


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=st.sets(st.integers(0, 4)))
def test_a_damaged_row_group_costs_its_rows_which_are_counted(read, damaged):
    texts = [f"row {number} of many" for number in range(50)]
    content = bytearray(parquet(pa.table({"text": texts}), row_group_size=10, compression="gzip"))
    table = pq.ParquetFile(io.BytesIO(content))
    for group in damaged:
        column = table.metadata.row_group(group).column(0)
        start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
        content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    documents, drops = read("b.parquet", bytes(content))
    assert [each.text for each in documents] == [text for n, text in enumerate(texts) if n // 10 not in damaged]
    assert [(each.reason, each.num_documents) for each in drops] == [("damaged_parquet", 10)] * len(damaged)
    assert all(each.num_bytes > 0 for each in drops)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize(
    ("value", "licence"),
    [
        ({"spdx": "GPL-3.0-only"}, "GPL-3.0-only"),
        ([{"id": "MIT"}, {"id": "GPL-3.0"}], "MIT AND GPL-3.0-only"),
        (b"GPL-3.0", "unknown"),
        ("x" * 400_000, "unknown"),
    ],
)
def test_a_column_of_any_type_that_names_a_licence_counts(read, name, value, licence):
    (document,), _ = read(name, rows_as(name, [{"text": "x = 1", "license": value}]))
    assert document.meta["licence"] == licence


def test_metadata_that_expands_too_far_ends_the_file(read):
    """Some kilobytes of Parquet may say the same 2,000 letters to each of a hundred thousand rows."""
    count = 100_000
    title = pa.array(["x" * 2000]).dictionary_encode().take(pa.array([0] * count))
    columns = {"text": pa.array(["w"] * count), "title": title, "url": title}
    documents, drops = read("a.parquet", parquet(pa.table(columns), compression="zstd"))
    assert len(documents) < count // 4
    assert [drop.reason for drop in drops] == ["expands_too_far"]


def test_dates_that_python_has_not_cost_their_value_only(read):
    dates = pa.array([2**60, 0], pa.timestamp("ms", tz="No/Where"))
    documents, drops = read("a.parquet", parquet(pa.table({"text": ["one", "two"], "date": dates})))
    assert ([document.text for document in documents], drops) == (["one", "two"], [])


def test_a_row_that_is_not_utf_8_far_from_the_head_costs_itself(read):
    documents, drops = read("a.csv", b"text\n" + b"one\n" * 50_000 + b"\xff\none\n")
    assert len(documents) == 50_001
    assert [(drop.reason, drop.id.rpartition("#")[2]) for drop in drops] == [("not_utf8", "50001")]


def test_a_hugging_face_data_set_on_disk_is_read_but_for_its_cards(read, tmp_path):
    for split, texts in (("test", ["three"]), ("train", ["one", "two"])):
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        table = table_of([{"text": text} for text in texts])
        (folder / "data-00000-of-00001.arrow").write_bytes(arrow(table, pa.ipc.new_stream))
        (folder / "state.json").write_text(json.dumps({"_split": split}))
        (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    documents, drops = read("set", None)
    assert [(each.text, each.meta) for each in documents] == [("one", {}), ("two", {})]
    assert sorted(each.reason for each in drops) == ["no_text"] * 3 + ["split_excluded"] * 3
