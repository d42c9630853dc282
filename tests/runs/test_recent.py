"""The end of a run's records, kept up with while it grows."""

from __future__ import annotations

import pytest
from fake_run import add, lines, resume, step, steps, validation

from headwater.core import records
from headwater.runs.summary import MAX_RECORDS, MEAN_STEPS, TAIL_BYTES, NoRunError, RecentRecords, RunsFolder


def test_the_loss_is_the_mean_of_the_last_steps(tmp_path):
    add(
        tmp_path / "mine/records.jsonl",
        step(1, loss=90.0),
        *[step(n, loss=2.0 + n % 2) for n in range(2, 2 + MEAN_STEPS)],
    )
    (found,) = RunsFolder(tmp_path).summaries()
    assert found.loss == 2.5


def test_only_what_is_new_is_parsed_and_a_validation_is_carried_on(tmp_path, monkeypatch):
    path, read = tmp_path / "records.jsonl", []
    add(path, validation(1, 1.5), *steps(2, 4999))
    assert path.stat().st_size > TAIL_BYTES
    parsed = records.parsed
    monkeypatch.setattr(records, "parsed", lambda line: read.append(line) or parsed(line))
    run = RecentRecords(path)
    for number in range(5000, 9000):
        run.poll()
        assert (run.score[0], run.step) == (1.5, number - 1)
        assert (
            len([line for line in read if line]) < (4500 if number == 5000 else 2) and len(run.records) <= MAX_RECORDS
        )
        read.clear()
        add(path, step(number))
        if number % 500 == 0:
            with open(path, "a", encoding="utf-8") as file:
                file.write('{"event": "st')  # a line that is being written
            run.poll()
            path.write_bytes(path.read_bytes().removesuffix(b'{"event": "st'))
    add(path, resume(3))  # of what is left little is in the last lines, or among those that were kept
    run.poll()
    assert (run.score[0], run.step, run.last_event) == (1.5, 3, "resume")


def test_what_a_resume_takes_back_and_a_file_that_is_replaced_are_read_again(tmp_path):
    path = tmp_path / "records.jsonl"
    add(path, step(1, loss=2.0), validation(1, 1.5), step(2, loss=2.0), step(3, loss=9.0), validation(3, 1.2))
    run = RecentRecords(path)
    run.poll()
    add(path, resume(2))
    run.poll()
    assert (run.score[0], run.step, run.loss, run.last_event) == (1.5, 2, 2.0, "resume")
    path.write_bytes(lines(step(1, loss=4.0)))
    run.poll()
    assert (run.score[0], run.step, run.loss) == (None, 1, 4.0)
    path.unlink()
    run.poll()
    assert (run.step, run.loss, run.last_event) == (None, None, None)


def test_runs_that_vanish_are_forgotten(tmp_path):
    add(tmp_path / "mine/records.jsonl", step(1))
    runs = RunsFolder(tmp_path)
    assert len(runs.summaries()) == len(runs._recent) == 1
    (tmp_path / "mine").rename(tmp_path / ".mine")
    assert not runs.summaries() and not runs._recent


def test_a_run_that_is_known_is_found_without_reading_the_folder_again(tmp_path, monkeypatch):
    add(tmp_path / "mine/records.jsonl", step(1))
    runs = RunsFolder(tmp_path)
    assert runs.run_dir("mine") == tmp_path / "mine"
    with monkeypatch.context() as patch:
        patch.setattr(runs, "paths", lambda: pytest.fail("read again"))
        assert runs.run_dir("mine") == tmp_path / "mine"
    (tmp_path / "mine").rename(tmp_path / "other")
    assert runs.run_dir("other") == tmp_path / "other"
    with pytest.raises(NoRunError, match="there is no run 'mine'"):
        runs.run_dir("mine")
