"""Files of columns in SQL: found whatever their folder is called, and with their own columns alone."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.corpus.decide.columns import rows_of_files


@pytest.mark.parametrize("folder", ["kind=web", "seed=1", "it's", "a[1]*?", 'of "words"'])
def test_a_folder_of_any_name_adds_and_changes_no_column(tmp_path, folder):
    file = tmp_path / folder / "texts.parquet"
    file.parent.mkdir()
    pq.write_table(pa.table({"kind": ["code"]}), file)
    with duckdb.connect() as connection:
        assert connection.sql(f"from {rows_of_files([file])}").to_arrow_table().to_pylist() == [{"kind": "code"}]
