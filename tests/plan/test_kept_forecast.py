"""The forecast that a run keeps, and its loss by a ladder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from made_ladder import leave_ladder
from runs_table import write_runs
from small_run import call, write_run_file, write_texts

from headwater.core.records import read_records
from headwater.plan import run_plan as plan
from headwater.plan import rungs
from headwater.plan.loss_outlook import loss_outlook
from headwater.plan.run_plan import forecast_of_run
from headwater.plan.rungs import ladder_runs, read_ladder, rung_of
from headwater.runfile.run_config import load_run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml")
    return tmp_path


def begin(step: int = 0, *overrides: str) -> tuple[dict | None, list[str]]:
    """Return the forecast of a run that begins at `step`, and what was said."""
    said: list[str] = []
    config, _ = load_run("mine.toml", list(overrides))
    return forecast_of_run(config, step, said.append, lambda: 1_790_000_000.0), said


KEPT = Path("runs/mine/forecast.json")


def test_a_resume_keeps_it_to_the_byte_and_settings_that_decide_nothing_may_change(folder):
    begin()
    before = KEPT.read_bytes()
    for changed in ((), ("train.log_every=3", "train.profile_steps=[9, 10]", f"runs_dir={folder}/runs")):
        found, said = begin(8, *changed)
        assert (KEPT.read_bytes(), said, found) == (before, [], json.loads(before)), changed


def test_planning_that_fails_stops_no_run_and_leaves_no_old_forecast(folder, monkeypatch):
    begin()

    def fail(*arguments, **options):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(plan, "plan_run", fail)
    found, said = begin()
    assert found is None
    assert "a fault of ours" in said[0]
    assert not KEPT.exists()


@pytest.mark.slow
def test_a_run_stores_it_before_its_first_step_and_a_resume_leaves_it(folder):
    said = call("train", "mine.toml", cwd=folder)
    assert said.status == 0, said
    assert "forecast (80 % intervals): training time" in said.out
    assert ", forecast " in said.out.split("step 20/24")[1]
    before, records = KEPT.read_bytes(), Path("runs/mine/records.jsonl")
    assert KEPT.stat().st_mtime < read_records(records, "step")[0]["time"]
    shutil.rmtree("runs/mine/checkpoints/step-000000024")
    assert call("train", "mine.toml", cwd=folder).status == 0
    assert [record["step"] for record in read_records(records, "resume")] == [16]
    assert KEPT.read_bytes() == before
    shutil.rmtree("runs/mine/checkpoints")
    KEPT.write_text("{}")
    assert call("train", "mine.toml", cwd=folder).status == 0
    assert json.loads(KEPT.read_text())["key"] == json.loads(before)["key"]


def of(*overrides: str):
    return load_run("mine.toml", list(overrides))[0]


@pytest.fixture
def ladder(tmp_path, monkeypatch) -> Path:
    """Leave a run file and what a finished ladder of it leaves; return its folder."""
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 60)  # enough to be read once
    write_run_file(tmp_path / "mine.toml")
    return leave_ladder(of())


@pytest.fixture
def table(ladder) -> Path:
    """Return such rows as a table of anybody's."""
    return write_runs(Path("runs.csv"), product((1e4, 3e4, 1e5), (3e4, 1e5, 3e5)))


CHANGES = [
    ("schedule.decay_fraction=0.1",),
    ("schedule.name=cosine", "schedule.final_fraction=0.1"),
    ("schedule.final_fraction=1.0",),
    ("schedule.warmup_steps=12",),
]


@pytest.mark.parametrize("changes", [*CHANGES, ("optim.matrix_lr=0.5",)], ids=" ".join)
def test_a_ladder_of_another_schedule_or_rate_is_anothers(ladder, changes):
    assert read_ladder(of()) != []
    assert read_ladder(of(*changes)) == []
    assert ladder_runs(of(*changes)) is None
    assert loss_outlook(of(*changes), None) is None


@pytest.mark.parametrize("loss", [[1], "x", {"all": "1.2"}, {"all": 10**400}, {"all": -1.0}, {"b": 1.0}])
def test_a_ladder_with_a_rung_whose_loss_cant_be_says_nothing(ladder, loss):
    path = next(ladder.glob("*/rung.json"))
    record = json.loads(path.read_text())
    record["loss"] = loss
    path.write_text(json.dumps(record))
    assert read_ladder(of()) == []


def test_sources_are_forecast_apart_and_weighed_by_their_bytes(ladder, monkeypatch):
    done = [replace(each, loss={**each.loss, "new": 1 + each.loss["mine"] ** 2}) for each in read_ladder(of())]

    def forecast(**held_out: int) -> float:
        monkeypatch.setattr(rungs, "of_split", lambda *_: held_out)
        return rungs.loss_by_rungs(of(), done, rung_of(of())).median

    assert forecast(new=1) > 1.5 * forecast(mine=1)
    assert forecast(mine=300, new=100) == pytest.approx((3 * forecast(mine=1) + forecast(new=1)) / 4)
    assert forecast(other=1) == forecast(mine=1)  # of a text that isn't the rungs': all of theirs counts
