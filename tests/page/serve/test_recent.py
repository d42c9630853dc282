"""The end of a run's records, kept up with while it grows."""

from __future__ import annotations

import os

import pytest
from fake_run import START, add, lines, resume, step, steps, validation
from read_picture import picture

from headwater.core import records
from headwater.page.serve import live
from headwater.page.serve.live import FollowedRun, compared
from headwater.page.serve.recent import MAX_RECORDS, MEAN_STEPS, TAIL_BYTES, RecentRecords
from headwater.page.serve.refusal import Refusal
from headwater.page.serve.summary import RunsFolder


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


def test_the_score_is_that_of_all_held_out_text_once_a_finished_run_is_evaluated(tmp_path):
    run_dir, folder, found = tmp_path / "mine", RunsFolder(tmp_path), []
    records, evaluation = run_dir / "records.jsonl", run_dir / "evaluation.json"

    def look() -> None:
        (summary,) = folder.summaries()
        figure = picture(run_dir).values["figures"][0]
        found.append((summary.cells[4], figure["value"], figure["note"][0]))

    add(records, step(20), validation(20, 1.303))
    look()
    evaluation.write_text('{"bits_per_byte": {"all": 1.271}}')  # of the shorter run that this one was
    os.utime(evaluation, (1e8, 1e8))
    look()
    add(records, {"event": "finish", "attempt": 1, "step": 20})
    look()
    evaluation.unlink()
    look()
    sample = ("1.303 (sample)", "1.303", "a sample of held-out text; lower is better")
    assert found == [sample, sample, ("1.271 (all)", "1.271", "held-out text; lower is better"), sample]


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
    with pytest.raises(Refusal, match="there is no run 'mine'"):
        runs.run_dir("mine")


def test_a_run_that_is_not_drawn_among_others_is_named(tmp_path):
    rewarded = [{"event": "step", "attempt": 1, "step": step, "reward": step / 10} for step in (1, 2)]
    written = {"drawn": [START, step(1)], "new": [START], "chat": [START, *rewarded]}
    for name, found in written.items():
        add(tmp_path / name / "records.jsonl", *found)
    page = compared({name: FollowedRun(tmp_path / name) for name in written}, ["one more"])
    (loss,) = (chart for chart in page["charts"] if chart["key"] == "loss")
    assert [trace["name"] for trace in loss["data"]] == ["drawn"]
    assert page["notes"] == ["new has no loss yet", "chat is trained by rewards and has no loss", "one more"]


def test_runs_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    run, is_locked = FollowedRun(tmp_path), []
    monkeypatch.setattr(run.log, "poll", lambda: is_locked.append(run.lock.locked()))
    compared({"mine": run}, [])
    run.picture(None)
    assert is_locked == [True, True]


def test_runs_that_nobody_asked_for_lately_leave_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MAX_STEPS_IN_MEMORY", 10)
    runs, followed = live.FollowedRuns(), {}
    for name in ("a", "b", "c"):
        add(tmp_path / name / "records.jsonl", *steps(1, 8))
        followed[name] = runs.of(tmp_path / name)
        followed[name].log.poll()
    assert runs.of(tmp_path / "c") is followed["c"]
    assert runs.of(tmp_path / "a") is not followed["a"], "read again"
