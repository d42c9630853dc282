"""A run that gets more steps goes on from before its decay, and ends with the bits of one that had them from the start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fault_plan import die, faults
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import MadeUpRows, train_here
from tiny_run import plan as tiny_plan

from headwater.core.errors import CheckpointError
from headwater.core.files import read_json
from headwater.tokens.skipped_rows import FILE, WrittenInterventions, read_interventions
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.loop import replay_training
from headwater.train.resume import (
    HALF_LENGTH,
    identity_of,
    num_shared_steps,
    require_same,
    require_settings,
    resume_longer,
    values_from_start,
)
from headwater.train.settings import TrainPlan, TrainSettings, is_half_length


def plan(**settings: object) -> TrainPlan:
    return tiny_plan(decay_fraction=0.5, **settings)


SHORT, LONG = plan(), plan(num_steps=24)


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in folder.glob("step-*"))


def lengthen(run_dir: Path, the_plan: TrainPlan = LONG) -> list[str]:
    said: list[str] = []
    resume_longer(run_dir, the_plan, MadeUpRows(), said.append)
    return said


@pytest.fixture(scope="module")
def short_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("short")
    train_here(folder, SHORT)
    return folder


@pytest.fixture
def short(short_run, tmp_path) -> None:
    """Let the test begin with a finished run of few steps."""
    shutil.copytree(short_run, tmp_path, dirs_exist_ok=True)


# the decay's first step, the seventh, has the peak's rate
@pytest.mark.parametrize(("stop_after", "resumed_from"), [(7, 7), (11, 6)])
def test_a_run_under_way_goes_on_from_the_newest_step_that_is_the_same(tmp_path, stop_after, resumed_from):
    train_here(tmp_path, SHORT, stop_after=stop_after)
    lengthen(tmp_path)
    assert max(steps_in(tmp_path / "checkpoints")) == resumed_from


def test_a_replay_of_a_longer_run_finds_no_difference(tmp_path, short):
    lengthen(tmp_path)
    shared = replay_training(tmp_path, LONG, MadeUpRows(), lambda record: None, lambda line: None)
    assert (shared.num_steps, shared.difference) == (6, None)
    train_here(tmp_path, LONG)
    whole = replay_training(tmp_path, LONG, MadeUpRows(), lambda record: None, lambda line: None)
    assert (whole.num_steps, whole.difference) == (24, None)


# ---- what is no longer run


def refusal(run_dir: Path, the_plan: TrainPlan) -> str:
    with pytest.raises(CheckpointError) as error:
        require_settings(run_dir, the_plan)
    with pytest.raises(CheckpointError):
        lengthen(run_dir, the_plan)
    return str(error.value)


def test_fewer_steps_and_more_with_another_rate_are_refused(tmp_path, short):
    assert "train.num_steps: was 12, is 8" in refusal(tmp_path, plan(num_steps=8))
    assert "optim.matrix_lr: was 0.02, is 0.01" in refusal(tmp_path, plan(num_steps=24, lr=0.01))
    assert steps_in(tmp_path / "checkpoints") == [6, 8, 12], "6 is from before the decay"


def test_a_cosine_run_is_refused_with_what_can_be_done(tmp_path):
    cosine, longer = (
        TrainPlan(**{**vars(each), "schedule": each.schedule.model_copy(update={"name": "cosine"})})
        for each in (SHORT, LONG)
    )
    train_here(tmp_path, cosine)
    assert steps_in(tmp_path / "checkpoints") == [8, 12]
    text = refusal(tmp_path, longer)
    assert "no checkpoint from before is left (there are those of steps 12, 8)" in text
    assert f"init.from={tmp_path} train.num_steps=12" in text
    assert steps_in(tmp_path / "checkpoints") == [8, 12]


def test_steps_are_shared_up_to_another_rate_or_another_length_of_sequences():
    assert num_shared_steps(SHORT.identity(), LONG) == 7
    quarter = plan(half_length_fraction=0.25)
    assert num_shared_steps(quarter.identity(), plan(num_steps=24, half_length_fraction=0.25)) == 3
    assert num_shared_steps(quarter.identity(), plan(num_steps=24, half_length_fraction=0.125)) == 7
    assert quarter.lasting_steps() == {3, 6}
    assert plan(half_length_fraction=0.5).lasting_steps() == {6}


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.floats(0, 1))
def test_as_many_steps_as_before_have_sequences_of_half_the_length(num_steps, more, fraction):
    short, longer = (plan(num_steps=each, half_length_fraction=fraction) for each in (num_steps, num_steps + more))
    kept = values_from_start({"identity": short.identity()}, longer, {HALF_LENGTH})
    as_before = longer.train.model_copy(update={name.split(".")[1]: value for name, value in kept.items()})
    assert num_half_length(short.train) == num_half_length(as_before)
    assert more or not kept, "nothing changed"


def num_half_length(train: TrainSettings) -> int:
    return sum(is_half_length(step, train) for step in range(train.num_steps))


# ---- a kill at every point


def finished_with_interventions(folder: Path) -> Path:
    """Train the shorter run, whose log has a step that was skipped before its decay and one after."""
    train_here(folder, SHORT)
    log = WrittenInterventions(folder, identity_of(SHORT, MadeUpRows()))
    rows = SHORT.rows_per_step
    for first in (3 * rows, 9 * rows):
        log.append("skip", first_row=first, last_row=first + rows - 1, reason="made up", documents={})
    return folder


def test_killed_at_any_point_the_next_call_comes_to_the_same(tmp_path):
    finished = finished_with_interventions(tmp_path / "finished")
    with faults("") as counted:
        lengthen(Path(shutil.copytree(finished, tmp_path / "counted")))
    assert len(counted.operations) > 10
    for number in range(1, len(counted.operations) + 1):
        run_dir = Path(shutil.copytree(finished, tmp_path / str(number)))
        die(f"crash@{number}", lambda run_dir=run_dir: lengthen(run_dir))
        lengthen(run_dir)
        assert steps_in(run_dir / "checkpoints") == [6], number
        assert steps_in(run_dir / "checkpoints-of-12-steps") == [8, 12], number
        assert [entry["first_row"] for entry in read_interventions(run_dir)] == [12], number
        assert len((run_dir / "checkpoints-of-12-steps" / FILE).read_bytes().splitlines()) == 2, number
        assert [read_json(path / "manifest.json")["step"] for _, path in list_checkpoints(run_dir)] == [6], number


def test_what_the_longer_run_skipped_stays_skipped(tmp_path):
    finished_with_interventions(tmp_path)
    lengthen(tmp_path)
    log = WrittenInterventions(tmp_path, identity_of(LONG, MadeUpRows()))
    log.append("skip", first_row=40, last_row=43, reason="made up", documents={})
    lengthen(tmp_path)  # it was killed before its first save
    assert [entry["first_row"] for entry in read_interventions(tmp_path)] == [12, 40]


def test_what_follows_from_fewer_steps_is_not_named_beside_them():
    saved = {"train": {"num_steps": 1000}, "schedule": {"warmup_steps": 20}, "optim": {"beta1": 0.8}}
    now = {"train": {"num_steps": 100}, "schedule": {"warmup_steps": 2}, "optim": {"beta1": 0.9}}
    with pytest.raises(CheckpointError) as refused:
        require_same(Path("step-000000100"), saved, now)
    said = str(refused.value)
    assert "num_steps: was 1000, is 100" in said and "optim.beta1" in said and "warmup_steps" not in said
