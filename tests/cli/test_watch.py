"""headwater watch: a table of runs, printed once where nobody sits at a terminal."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from small_run import call

from headwater.runs.summary import RunsFolder

STEP = {
    "event": "step",
    "attempt": 1,
    "step": 7,
    "tokens_seen": 700,
    "loss": 3.25,
    "tokens_per_second": 1234.0,
    "seconds": 0.5,
}


def write_run(run_dir: Path, *records: dict, lock: dict | None = None) -> Path:
    run_dir.mkdir(parents=True)
    (run_dir / "config.json").write_text(json.dumps({"settings": {"train": {"num_steps": 20}}}))
    (run_dir / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if lock is not None:
        (run_dir / "lock").write_text(json.dumps(lock))
    return run_dir


def state_of(folder: Path) -> str:
    return call("watch", str(folder), "--json", cwd=folder.parent).json["runs"][0]["state"]


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"


def test_each_run_has_a_line_with_what_is_known_of_it(runs):
    write_run(runs / "mine", STEP, {"event": "validation", "attempt": 1, "step": 7, "bits_per_byte": {"all": 1.5}})
    write_run(runs / "new")
    said = call("watch", cwd=runs.parent)
    assert [line.split() for line in said.out.splitlines()] == [
        [
            "run",
            "state",
            "step",
            "mean",
            "loss",
            "of",
            "20",
            "steps",
            "held-out",
            "bits/byte",
            "tokens/s",
            "time",
            "left",
        ],
        ["mine", "killed", "7", "of", "20", "3.250", "1.500", "(sample)", "1.23k"],
        ["new", "not", "started"],
    ]


HERE = {"pid": os.getpid(), "host": socket.gethostname(), "epoch": 1}


def test_a_run_whose_process_is_there_runs_and_says_how_long_yet(runs):
    steps = [STEP | {"step": step, "time": 100.0 + 2 * step} for step in range(1, 11)]
    write_run(runs / "mine", *steps, lock=HERE)
    (found,) = call("watch", "--json", cwd=runs.parent).json["runs"]
    assert (found["state"], found["seconds_left"]) == ("running", 20.0)


@pytest.mark.parametrize(
    ("records", "lock", "state"),
    [
        ([STEP, {"event": "finish", "attempt": 1, "step": 20}], None, "finished"),
        ([STEP, {"event": "stopped", "attempt": 1, "step": 7}], None, "stopped"),
        ([STEP], HERE | {"pid": 2**22 + 1}, "killed"),
        ([STEP | {"age": 0}], HERE | {"host": "elsewhere"}, "running"),
        ([STEP | {"age": 3600}], HERE | {"host": "elsewhere"}, "killed"),
        ([], HERE, "preparing"),
        ([], None, "not started"),
        ([STEP, {"event": "finish", "attempt": 1, "step": 20}, {"event": "resume", "attempt": 2, "step": 7}], None, "killed"),
    ],
)  # fmt: skip
def test_the_state_is_what_records_and_lock_say(runs, records, lock, state):
    records = [record | {"time": time.time() - record["age"]} if "age" in record else record for record in records]
    write_run(runs / "mine", *records, lock=lock)
    assert state_of(runs) == state


def test_one_run_and_a_ladders_rungs_are_shown(runs):
    write_run(runs / "mine", STEP)
    write_run(runs / "mine" / "ladder" / "2x64", STEP)
    assert {run["name"] for run in call("watch", str(runs), "--json", cwd=runs.parent).json["runs"]} == {
        "mine",
        "mine/ladder/2x64",
    }
    assert [run["name"] for run in call("watch", "mine", "--json", cwd=runs.parent).json["runs"]] == ["mine"]


def test_a_validation_far_back_is_found(runs):
    before = {"event": "validation", "attempt": 1, "step": 1, "bits_per_byte": {"all": 1.5}}
    write_run(runs / "mine", before, *[STEP | {"step": step} for step in range(2, 6000)])
    (found,) = call("watch", "--json", cwd=runs.parent).json["runs"]
    assert (found["bits_per_byte"], found["step"]) == (1.5, 5999)


def test_a_name_cannot_drive_the_terminal(runs):
    write_run(runs / "a\x1b[31m\u202eb\n[red]c", STEP)
    said = call("watch", cwd=runs.parent)
    assert (
        "\x1b" not in said.out and "\u202e" not in said.out and "[red]c" in said.out and len(said.out.splitlines()) == 2
    )


def test_a_run_called_data_and_a_file_beside_runs_hide_none(runs):
    for name in ("data", "config.json", "records.jsonl", "mine"):
        write_run(runs / name, STEP)
    assert set(RunsFolder(runs).paths()) == {"data", "config.json", "records.jsonl", "mine"}
    (runs / "config.json").rename(runs / "other")
    (runs / "config.json").write_text('{"editor": true}')
    assert set(RunsFolder(runs).paths()) == {"data", "other", "records.jsonl", "mine"}
    assert set(RunsFolder(runs / "mine").paths()) == {"mine"}


def test_a_finished_run_had_as_many_steps_as_it_finished_with(runs):
    aligned = [{"event": "step", "attempt": 1, "step": step, "reward": 0.5} for step in (1, 2)]
    write_run(runs / "aligned", *aligned, {"event": "finish", "attempt": 1, "step": 2})
    (found,) = RunsFolder(runs).summaries()
    assert (found.state, found.step, found.num_steps) == ("finished", 2, 2)


def test_an_empty_folder_says_what_to_do(tmp_path):
    (tmp_path / "runs").mkdir()
    assert "headwater run first-light" in call("watch", "runs", cwd=tmp_path).out


def test_the_name_of_an_empty_folder_cannot_drive_the_terminal(tmp_path):
    folder = tmp_path / "runs\x1b[2J"
    folder.mkdir()
    said = call("watch", str(folder), cwd=tmp_path)
    assert said.status == 0 and "no run in" in said.out and "\x1b" not in said.out
