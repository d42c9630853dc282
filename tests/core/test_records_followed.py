"""A log that follows a growing file comes to what `read_records` says, however the file grew."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import add, lines, resume, step, steps, troubled_run
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.records import RunLog, read_records


def followed(path: Path, *records: dict) -> RunLog:
    """Return the log of a run that has written these."""
    add(path, *records)
    log = RunLog(path)
    log.poll()
    return log


def require_equal(log: RunLog) -> None:
    whole = log.path.with_name("whole.jsonl")
    whole.write_bytes(log.path.read_bytes().rpartition(b"\n")[0])  # a line counts once it has its end
    assert log.records == read_records(whole)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 400), max_size=40))
def test_pieces_of_any_size_come_to_what_counts(tmp_path_factory, seed, pieces):
    path = tmp_path_factory.mktemp("run") / "records.jsonl"
    data, log = lines(*troubled_run(seed)), RunLog(path)
    for size in [*pieces, len(data)]:
        with open(path, "ab") as file:
            file.write(data[:size])
        data = data[size:]
        log.poll()
        require_equal(log)


def replaced(path: Path, data: bytes) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)


@pytest.mark.parametrize("change", [replaced, Path.write_bytes])
@pytest.mark.parametrize("num_steps", [2, 5, 9])
def test_a_file_that_is_another_is_read_from_its_beginning(tmp_path, change, num_steps):
    log = followed(tmp_path / "records.jsonl", *steps(1, 5))
    change(log.path, lines(*(step(number, loss=7.0 + number) for number in range(1, num_steps + 1))))
    log.poll()
    require_equal(log)


def test_a_folder_may_vanish_and_come_back(tmp_path):
    path = tmp_path / "mine" / "records.jsonl"
    log, found = RunLog(path), []
    for change in (lambda: None, lambda: add(path, step(1)), path.unlink, lambda: add(path, *steps(1, 2))):
        change()
        log.poll()
        found.append(len(log.records))
    assert found == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b"null", b'{"event": 3, "step": 1}', b'{"event": "step"}', b'{"event": "step", "step": "x"}',
     b'{"event": "step", "step": 1e300}', b'{"event": "resume", "step": -4}', b"\xff\xfe", b"[" * 100_000],
    ids=lambda line: line[:40].decode("latin-1"),
)  # fmt: skip
def test_a_line_that_is_no_event_is_no_error_and_hides_no_other(tmp_path, line):
    path = tmp_path / "records.jsonl"
    path.write_bytes(lines(step(1)) + line + b"\n")
    assert followed(path, step(5)).records == [step(1), step(5)]


def test_a_rollback_to_nobody_knows_where_is_no_error(tmp_path):
    back = {"event": "rollback", "attempt": "x", "step": 9, "rows_consumed": []}
    log = followed(tmp_path / "records.jsonl", step(1), back, step(5), resume(3))
    assert [record["step"] for record in log.records] == [1, 3]
