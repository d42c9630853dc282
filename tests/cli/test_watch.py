"""headwater watch, and headwater alone: the runs here, printed once where nobody sits at a terminal."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import call

from headwater.runs.summary import RunsFolder
from headwater.train.checkpoint.lock import owned

STEP = {"event": "step", "attempt": 1, "step": 7, "tokens_seen": 700, "loss": 3.25, "tokens_per_second": 1234.0}
STEP |= {"seconds": 0.5}
FINISH = {"event": "finish", "attempt": 1, "step": 20}
HERE = {"pid": os.getpid(), "host": socket.gethostname(), "epoch": 1}
CONFIG = json.dumps({"settings": {"train": {"num_steps": 20}}})


def write_run(run_dir: Path, *records: dict, lock: dict | None = None, **files: str) -> Path:
    """Write what a run leaves: its settings, these records, and files by their names but for .json."""
    run_dir.mkdir(parents=True)
    locks = {} if lock is None else {"lock": json.dumps(lock)}
    config = {"config.json": CONFIG, "records.jsonl": "".join(json.dumps(record) + "\n" for record in records)}
    for name, text in {**config, **locks, **{f"{name}.json": text for name, text in files.items()}}.items():
        (run_dir / name).write_text(text)
    return run_dir


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"


def watched(runs: Path, *words: str) -> list[dict[str, Any]]:
    return call("watch", *words, "--json", cwd=runs.parent).json["runs"]


def test_each_run_has_a_line_with_what_is_known_of_it(runs):
    write_run(runs / "mine", STEP, {"event": "validation", "attempt": 1, "step": 7, "bits_per_byte": {"all": 1.5}})
    write_run(runs / "new")
    heads, mine, new = (line.split() for line in call("watch", cwd=runs.parent).out.splitlines())
    assert " ".join(heads) == "run state step mean loss of 20 steps held-out bits/byte tokens/s time left"
    assert " ".join(mine) == "mine killed 7 of 20 3.250 1.500 (sample) 1.23k"
    assert " ".join(new) == "new not started"


STATES: dict[str, tuple[list[dict], dict[str, Any], str]] = {  # records, what else lies there, and what is said
    "finished": ([STEP, FINISH], {}, "finished, step 20 of 20"),
    "stopped": ([STEP, {"event": "stopped", "attempt": 1, "step": 7}], {}, "stopped, step 7 of 20"),
    "of another process": ([STEP], {"lock": HERE | {"pid": 2**22 + 1}}, "killed, step 7 of 20"),
    "elsewhere": ([STEP | {"age": 0}], {"lock": HERE | {"host": "elsewhere"}}, "running, step 7 of 20"),
    "long gone": ([STEP | {"age": 3600}], {"lock": HERE | {"host": "elsewhere"}}, "killed, step 7 of 20"),
    "preparing": ([], {}, "preparing"),  # its lock is held
    "with-a-name-that-is-too-long-for-its-column": ([], {}, "not started"),
    "longer": ([STEP, FINISH, {"event": "resume", "attempt": 2, "step": 7}], {}, "killed, step 7 of 20"),
    "aligned": ([{"event": "step", "attempt": 1, "step": 3, "reward": 0.5}], {"derived": '{"num_steps": 40}'}, "killed, step 3 of 40"),
    "aligned early": ([{"event": "step", "attempt": 1, "step": 2}, FINISH | {"step": 2}], {}, "finished, step 2 of 2"),
    "damaged": ([STEP], {"config": '{"settings": [1]}', "lock": {"pid": 10**20}}, "damaged, step 7"),
}  # fmt: skip


def test_the_state_is_what_records_and_lock_say_here_and_in_the_list_of_headwater_alone(runs):
    for name, (records, more, _) in STATES.items():
        now = [record | {"time": time.time() - record["age"]} if "age" in record else record for record in records]
        write_run(runs / name, *now, **more)
    with open(runs / "stopped" / "records.jsonl", "a") as file:
        file.write('{"event": "ste')
    said = {name: words for name, (*_, words) in STATES.items()}
    with owned(runs / "preparing"):
        states, lines = {run["name"]: run["state"] for run in watched(runs)}, call(cwd=runs.parent).out.splitlines()
    assert states == {name: words.partition(",")[0] for name, words in said.items()}
    found = [line.strip().split("  ", 1) for line in lines if line.startswith("  runs/")]
    assert {name.removeprefix("runs/"): words.strip() for name, words in found} == said


def test_a_run_whose_process_is_there_runs_and_says_how_long_yet(runs):
    steps = [STEP | {"step": step, "time": 100.0 + 2 * step} for step in range(1, 11)]
    with owned(write_run(runs / "mine", *steps)):
        (found,) = watched(runs)
    assert (found["state"], found["seconds_left"]) == ("running", 20.0)


def test_one_run_and_a_ladders_rungs_are_shown(runs):
    write_run(runs / "mine", STEP)
    write_run(runs / "mine" / "ladder" / "2x64", STEP)
    assert {run["name"] for run in watched(runs)} == {"mine", "mine/ladder/2x64"}
    assert [run["name"] for run in watched(runs, "mine")] == ["mine"]


def test_a_validation_far_back_is_found(runs):
    before = {"event": "validation", "attempt": 1, "step": 1, "bits_per_byte": {"all": 1.5}}
    write_run(runs / "mine", before, *[STEP | {"step": step} for step in range(2, 6000)])
    (found,) = watched(runs)
    assert (found["bits_per_byte"], found["step"]) == (1.5, 5999)


def test_a_name_cannot_drive_the_terminal(runs):
    runs.mkdir()
    said = call("watch", str(runs), cwd=runs.parent).out
    assert "headwater run first-light" in said and "no run in" in said
    empty = runs.rename(runs.with_name("runs\x1b[2J"))
    assert "\x1b" not in call("watch", str(empty), cwd=runs.parent).out
    write_run(runs / "a\x1b[31m\u202eb\n[red]c", STEP)
    said = call("watch", cwd=runs.parent).out
    assert not set(said) & {"\x1b", "\u202e"} and "[red]c" in said and len(said.splitlines()) == 2


def test_a_run_called_data_and_a_file_beside_runs_hide_none(runs):
    for name in ("data", "config.json", "records.jsonl", "mine"):
        write_run(runs / name, STEP)
    assert set(RunsFolder(runs).paths()) == {"data", "config.json", "records.jsonl", "mine"}
    (runs / "config.json").rename(runs / "other")
    (runs / "config.json").write_text('{"editor": true}')
    assert set(RunsFolder(runs).paths()) == {"data", "other", "records.jsonl", "mine"}
    assert set(RunsFolder(runs / "mine").paths()) == {"mine"}
