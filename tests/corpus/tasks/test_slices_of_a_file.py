"""A large file is read in slices, Parquet by row groups and JSON lines at line ends: the same documents with the same ids, whatever is damaged."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from headwater.corpus.build import build_corpus
from headwater.corpus.load import SPLITS, dropped_sample, list_shards, read_documents
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.json import read_jsonl
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.sources.settings import CorpusSettings

WORDS = [f"{first}{last}" for first in ("ri", "sto", "clou", "gar", "win") for last in ("ver", "ne", "den", "ter")]


def write_table(path, seed, num_rows, rows_in_group):
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(40, 120))) for _ in range(num_rows)]
    table = pa.table({"url": [f"https://a.b/{row}" for row in range(num_rows)], "text": texts})
    pq.write_table(table, path, row_group_size=rows_in_group, compression="none", use_dictionary=chance.random() < 0.5)


def write_lines(path, seed, num_rows, line_end):
    """Lines of any length, some empty, some no JSON, the last with or without its end; the first slice may be one."""
    chance = random.Random(seed)
    lines = [json.dumps({"text": " ".join(chance.choices(WORDS, k=chance.randint(1, 150)))}) for _ in range(num_rows)]
    lines += chance.choices(["", " ", "{no JSON", '{"text": 7}'], k=num_rows // 3)
    chance.shuffle(lines)
    path.write_bytes(chance.choice([b"", b"\xef\xbb\xbf"]) + line_end.join(lines).encode())


def damage(path, what, chance):
    data = bytearray(path.read_bytes())
    if what == "rows":
        at = chance.randrange(4, max(len(data) * 3 // 4, 5))
        data[at : at + 40] = bytes(40)
    elif what == "end":
        data = data[: len(data) // 2]
    elif what == "beginning":
        data[:4] = b"none"
    path.write_bytes(data)


def built(folder, out, task_bytes):
    sources = {"table": {"paths": [str(folder / "in")]}}
    given = {"sources": sources, "task_bytes": task_bytes, "engine": {"workers": 1}, "dedup": {"near": False}}
    manifest = build_corpus(CorpusSettings.model_validate(given), out, lambda line: None)
    documents = [[*read_documents(out, split, "table")] for split in SPLITS]
    return manifest["sources"], documents, dropped_sample(out, None, None, 1000), list_shards(out, "train/")


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.shrink})
@given(
    num_rows=st.integers(1, 60),
    rows_in_group=st.integers(1, 20),
    task_bytes=st.integers(3000, 12_000),
    what=st.sampled_from(["nothing", "nothing", "rows", "end", "beginning"]),
    seed=st.integers(0, 2**20),
)
@example(num_rows=50, rows_in_group=5, task_bytes=3000, what="nothing", seed=1)
@example(num_rows=50, rows_in_group=5, task_bytes=3000, what="end", seed=1)
def test_slices_hold_what_the_file_does(tmp_path_factory, num_rows, rows_in_group, task_bytes, what, seed):
    folder = tmp_path_factory.mktemp("sliced")
    (folder / "in").mkdir()
    write_table(folder / "in" / "large.parquet", seed, num_rows, rows_in_group)
    damage(folder / "in" / "large.parquet", what, random.Random(seed))
    write_table(folder / "in" / "whole.parquet", seed + 1, 12, 12)
    *whole, shards = built(folder, folder / "whole", 10**9)
    *sliced, more_shards = built(folder, folder / "sliced", task_bytes)
    assert sliced == whole
    assert len(more_shards) >= len(shards)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.shrink})
@given(
    num_rows=st.integers(1, 60),
    task_bytes=st.integers(3000, 12_000),
    line_end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    seed=st.integers(0, 2**20),
)
@example(num_rows=60, task_bytes=1000, line_end="\n", seed=1)
def test_slices_of_lines_hold_what_the_file_does(tmp_path_factory, num_rows, task_bytes, line_end, seed):
    folder = tmp_path_factory.mktemp("lines")
    (folder / "in").mkdir()
    for at in range(2):
        write_lines(folder / "in" / f"{at}.jsonl", seed + at, num_rows, line_end)
    write_lines(folder / "in" / "whole.jsonl", seed + 2, 30, "\n")
    *whole, shards = built(folder, folder / "whole", 10**9)
    *sliced, more_shards = built(folder, folder / "sliced", task_bytes)
    assert sliced == whole
    assert len(more_shards) >= len(shards)


@pytest.mark.parametrize("line", [b"a" * 7, b""])
def test_a_line_that_begins_where_a_slice_does_is_read_once(tmp_path, line):
    """Cut at every byte: each line is in one slice, under the number that it has in the file."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join([b'{"text": "one"}', line, b'{"text": "two"}', b'{"text": "three"}\n']))
    size, limits = path.stat().st_size, ReadLimits(*[1000] * 3)

    def read(start, end, before):
        file = InputFile(path, "x", "s", "text", within=(start, end, before))
        return [piece.id for piece in read_jsonl(file, limits)]

    whole = [piece.id for piece in read_jsonl(InputFile(path, "x", "s", "text"), limits)]
    data = path.read_bytes()
    for cut in range(1, size):
        before = 1 + data[: cut - 1].count(b"\n")
        assert read(0, cut, 0) + read(cut, size, before) == whole, cut
