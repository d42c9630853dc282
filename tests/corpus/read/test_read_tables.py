from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def reasons(drops):
    return [drop.reason for drop in drops]


@pytest.fixture
def parquet(tmp_path):
    def write(columns, name="a.parquet"):
        pq.write_table(pa.table(columns), tmp_path / name)
        return name

    return write


class TestParquet:
    @pytest.mark.parametrize("column", ["text", "content"])
    def test_a_row_is_a_document(self, read, parquet, column):
        documents, drops = read(parquet({"id": [1, 2], column: ["one", "two"]}), None)
        assert ([document.text for document in documents], drops) == (["one", "two"], [])

    def test_dictionary_columns_are_text_too(self, read, parquet):
        name = parquet({"text": pa.array(["one", "two", "one"]).dictionary_encode()})
        assert [document.text for document in read(name, None)[0]] == ["one", "two", "one"]

    def test_a_row_without_text_costs_that_row(self, read, parquet):
        documents, drops = read(parquet({"text": ["one", None, "three"]}), None)
        assert ([document.text for document in documents], reasons(drops)) == (["one", "three"], ["no_text"])

    def test_text_under_its_name_is_dropped(self, read):
        assert reasons(read("a.parquet", b"plain words, no table")[1]) == ["not_parquet"]

    def test_a_file_cut_short_is_dropped(self, read, parquet, tmp_path):
        name = parquet({"text": ["one"] * 1000})
        content = (tmp_path / name).read_bytes()
        assert reasons(read(name, content[: len(content) // 2])[1]) == ["damaged_parquet"]

    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(damaged=st.sets(st.integers(0, 4)))
    def test_a_damaged_row_group_costs_its_rows_which_are_counted(self, read, tmp_path, damaged):
        texts = [f"row {number} of many" for number in range(50)]
        pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=10, compression="gzip")
        content = bytearray((tmp_path / "a.parquet").read_bytes())
        for group in damaged:
            column = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(group).column(0)
            start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
        documents, drops = read("b.parquet", bytes(content))
        assert [each.text for each in documents] == [text for n, text in enumerate(texts) if n // 10 not in damaged]
        assert [(each.reason, each.num_documents) for each in drops] == [("damaged_parquet", 10)] * len(damaged)
        assert all(each.num_bytes > 0 for each in drops)


class TestCsv:
    @pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
    def test_a_row_is_a_document_with_what_its_other_columns_say(self, read, name, mark):
        table = f'id{mark}Title{mark}text{mark}license\n1{mark}One{mark}"first\nline, and ""second"""{mark}CC0-1.0\n'
        (document,), drops = read(name, table.encode())
        assert (document.text, drops) == ('first\nline, and "second"', [])
        assert document.meta == {"title": "One", "licence": "CC0-1.0"}

    def test_a_row_without_text_costs_that_row(self, read):
        documents, drops = read("a.csv", b"id,text\n1,one\n2\n3,\n4,four\n")
        assert ([document.text for document in documents], reasons(drops)) == (["one", "four"], ["no_text"] * 2)

    @pytest.mark.parametrize("kind", ["text", "code"])
    def test_a_table_without_a_column_of_text_is_dropped(self, read, kind):
        content = b"name,size\nbig,7\n"
        documents, (drop,) = read("a.csv", content, kind=kind)
        assert (documents, drop.reason, drop.num_bytes) == ([], "no_text", len(content))

    def test_zeros_where_a_header_should_be_are_binary(self, read):
        assert reasons(read("a.csv", b"PK\x03\x04\0\0\0words\n")[1]) == ["binary"]

    def test_a_quotation_that_never_ends_costs_the_rest(self, read):
        documents, drops = read("a.csv", b'text\none\n"' + b"x" * 5000, max_line_bytes=1000)
        assert ([document.text for document in documents], reasons(drops)) == (["one"], ["malformed_csv"])

    def test_a_header_that_is_too_long_costs_the_file(self, read):
        assert reasons(read("a.csv", b"x" * 5000 + b",text\none,two\n", max_line_bytes=1000)[1]) == ["malformed_csv"]

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-8"])
    def test_only_the_end_of_a_line_ends_a_row(self, read, encoding):
        rows = ["one\x0ctwo", "three\x85four", "five\x1csix"]
        content = "\r\n".join(["text,more", *(f"{row},x" for row in rows)]).encode(encoding)
        documents, drops = read("a.csv", content, of_source={"encoding": encoding})
        assert ([each.text for each in documents], drops) == (rows, [])

    def test_a_row_that_is_not_utf_8_costs_itself(self, read):
        documents, drops = read("a.csv", b"text\n" + b"one\n" * 50_000 + b"\xff\none\n")
        assert len(documents) == 50_001
        assert [(drop.reason, drop.id.rpartition("#")[2]) for drop in drops] == [("not_utf8", "50001")]


def arrow(columns, opener) -> bytes:
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with opener(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("opener", [pa.ipc.new_file, pa.ipc.new_stream])
class TestArrow:
    def test_a_row_is_a_document_with_what_its_other_columns_say(self, read, opener):
        columns = {"id": [1, 2, 3], "text": ["one", None, "three"], "url": ["http://a", "http://b", None]}
        documents, drops = read("a.arrow", arrow(columns, opener))
        assert [(each.text, each.meta) for each in documents] == [
            ("one", {"url": "http://a"}),
            ("three", {}),
        ]
        assert reasons(drops) == ["no_text"]

    def test_a_file_cut_short_gives_no_text_that_is_not_in_it(self, read, opener):
        content = arrow({"text": [f"row {number}" for number in range(1000)]}, opener)
        documents, drops = read("a.arrow", content[: len(content) // 2])
        assert {each.text for each in documents} <= {f"row {number}" for number in range(1000)}
        assert reasons(drops) == ["damaged_arrow"]


def test_text_under_the_name_of_arrow_is_dropped(read):
    assert reasons(read("a.arrow", b"plain words, no table")[1]) == ["damaged_arrow"]


def test_a_hugging_face_data_set_on_disk_is_read_but_for_its_cards(read, tmp_path):
    for split, texts in (("test", ["three"]), ("train", ["one", "two"])):
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        (folder / "data-00000-of-00001.arrow").write_bytes(arrow({"text": texts}, pa.ipc.new_stream))
        (folder / "state.json").write_text(json.dumps({"_split": split}))
        (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    documents, drops = read("set", None)
    assert [(each.text, each.meta) for each in documents] == [("one", {}), ("two", {})]
    assert sorted(reasons(drops)) == ["no_text"] * 3 + ["split_excluded"] * 3
