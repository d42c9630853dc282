"""Stop a run between any two of its records: what counts of it in the end is what it would have been."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_run import final_weights, measured

from headwater.checkpoint.save import Saver
from headwater.records import read_all

SETTINGS = {"train__num_steps": 10, "train__save_every": 4, "train__validate_every": 4, "train__num_probes": 2}


class Killed(BaseException):
    """Nothing in the code catches it, so that nothing can be put in order: as after SIGKILL."""


@pytest.fixture(scope="module")
def workshop(prepare):
    return prepare(**SETTINGS)


@pytest.fixture(scope="module")
def whole(workshop, tmp_path_factory) -> Path:
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    workshop.train(folder)
    return folder


def killed_after(num_records: int):
    """Return a display that kills the run once it has written that many records."""
    left = iter(range(num_records - 1))

    def display(record: dict) -> None:
        if next(left, None) is None:
            raise Killed

    return display


def require_same(folder: Path, whole: Path) -> None:
    assert measured(folder) == measured(whole)
    assert final_weights(folder) == final_weights(whole)
    states = [(of / "checkpoints/step-000000010/optim.safetensors").read_bytes() for of in (folder, whole)]
    assert states[0] == states[1]


# of the 20 records of a run of 10 steps: start, steps, validations, samples and checkpoints, the first and the last ones
@pytest.mark.slow
@pytest.mark.parametrize("num_records", [1, 4, 14, 20])
def test_a_kill_after_any_record_changes_nothing(workshop, whole, tmp_path, num_records):
    with pytest.raises(Killed):
        workshop.train(tmp_path, killed_after(num_records))
    workshop.train(tmp_path)
    require_same(tmp_path, whole)


def test_kills_again_and_again_change_nothing(workshop, whole, tmp_path):
    for num_records in (8, 3, 5, 2, 9):
        with pytest.raises(Killed):
            workshop.train(tmp_path, killed_after(num_records))
    workshop.train(tmp_path)
    require_same(tmp_path, whole)
    attempts = {record["attempt"] for record in read_all(tmp_path / "records.jsonl")}
    assert attempts == set(range(1, 7))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [4, 10])
def test_a_kill_around_a_save_changes_nothing(workshop, whole, tmp_path, monkeypatch, when, step):
    begin = Saver.begin

    def save(saver, at, *rest):
        if at == step and when == "before":
            raise Killed
        before = begin(saver, at, *rest)
        if at == step:
            saver.finish()
            raise Killed
        return before

    monkeypatch.setattr(Saver, "begin", save)
    with pytest.raises(Killed):
        workshop.train(tmp_path)
    monkeypatch.undo()
    workshop.train(tmp_path)
    require_same(tmp_path, whole)


def test_a_run_that_reached_its_end_resumes_to_measure_it_again_and_ends(workshop, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    assert workshop.train(tmp_path / "copy").step == 10
    require_same(tmp_path / "copy", whole)


def test_another_seed_gives_other_losses(prepare, whole, tmp_path):
    prepare(**SETTINGS, seed=2).train(tmp_path)
    assert measured(tmp_path) != measured(whole)
