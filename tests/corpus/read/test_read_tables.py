from __future__ import annotations

import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


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

    @pytest.mark.parametrize("columns", [{"words": ["one"]}, {"text": [1]}])
    def test_a_table_without_a_column_of_text_is_dropped(self, read, parquet, columns):
        assert reasons(read(parquet(columns), None)[1]) == ["no_text"]

    def test_text_under_its_name_is_dropped(self, read):
        assert reasons(read("a.parquet", b"plain words, no table")[1]) == ["not_parquet"]

    def test_a_file_cut_short_is_dropped(self, read, parquet, tmp_path):
        name = parquet({"text": ["one"] * 1000})
        content = (tmp_path / name).read_bytes()
        assert reasons(read(name, content[: len(content) // 2])[1]) == ["damaged_parquet"]

    def test_damaged_pages_are_dropped(self, read, parquet, tmp_path):
        name = parquet({"text": [f"row {number} of many" for number in range(5000)]})
        content = bytearray((tmp_path / name).read_bytes())
        content[20:2000] = b"\xff" * 1980
        documents, drops = read(name, bytes(content))
        assert (documents, reasons(drops)) == ([], ["damaged_parquet"])


@pytest.fixture
def database(tmp_path):
    def write(*statements, name="a.db"):
        connection = sqlite3.connect(tmp_path / name)
        for statement, *rows in statements:
            connection.executemany(statement, rows) if rows else connection.execute(statement)
        connection.commit()
        connection.close()
        return name

    return write


class TestSqlite:
    def test_rows_of_tables_with_text_are_documents(self, read, database):
        name = database(
            ("CREATE TABLE posts (id INT, Text TEXT)",),
            ("INSERT INTO posts VALUES (?, ?)", (1, "one"), (2, "two")),
            ('CREATE TABLE "odd ""name" (content TEXT)',),
            ('INSERT INTO "odd ""name" VALUES (?)', ("three",)),
            ("CREATE TABLE other (word TEXT)",),
            ("INSERT INTO other VALUES (?)", ("ignored",)),
        )
        documents, drops = read(name, None)
        assert ([document.text for document in documents], drops) == (["three", "one", "two"], [])

    def test_a_bad_row_costs_that_row(self, read, database):
        name = database(
            ("CREATE TABLE posts (text)",),
            ("INSERT INTO posts VALUES (CAST(? AS TEXT))", ("one",), (b"\xff",), ("two",)),
            ("INSERT INTO posts VALUES (?)", (7,)),
        )
        documents, drops = read(name, None)
        assert [document.text for document in documents] == ["one", "two"]
        assert reasons(drops) == ["not_utf8", "no_text"]

    def test_a_database_without_text_is_dropped(self, read, database):
        assert reasons(read(database(("CREATE TABLE t (x INT)",)), None)[1]) == ["no_text"]

    def test_text_under_its_name_is_dropped(self, read):
        assert reasons(read("a.sqlite", b"plain words")[1]) == ["not_sqlite"]

    def test_a_damaged_database_is_dropped(self, read, database, tmp_path):
        name = database(("CREATE TABLE posts (text)",), ("INSERT INTO posts VALUES (?)", *[("a" * 500,)] * 100))
        content = (tmp_path / name).read_bytes()
        drops = read(name, content[:100] + b"\x77" * (len(content) - 100))[1]
        assert reasons(drops) == ["damaged_sqlite"]

    def test_reading_leaves_no_file_beside_the_database(self, read, database, tmp_path):
        name = database(("CREATE TABLE posts (text)",), ("INSERT INTO posts VALUES (?)", ("one",)))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        read(name, None)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
