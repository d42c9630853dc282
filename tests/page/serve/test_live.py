"""What the live page is told: what it follows, what it lays over each other, and that its list says the same."""

from __future__ import annotations

import os

from fake_run import START, add, step, steps, validation
from read_picture import picture

from headwater.page.serve import live
from headwater.page.serve.live import FollowedRun, compared
from headwater.runs.summary import RunsFolder


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
