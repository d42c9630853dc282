"""A run's forecast is made before its first step, kept as it is, and never the reason that a run fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_run import call, write_run_file, write_texts

from headwater.core.records import read_records
from headwater.plan import run_plan as plan
from headwater.plan.run_plan import forecast_of_run
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


def test_it_says_when_and_by_what_it_was_made(folder):
    found, said = begin()
    assert all(line.startswith("the text isn't built") for line in said), said
    assert found == json.loads(KEPT.read_text())
    assert found["made_at"] == "2026-09-21T14:13:20+00:00"
    assert found["loss"] is None
    assert "better trained itself" in found["loss_refused"]
    assert 0 < found["training"]["hours"]["p10"] <= found["training"]["hours"]["p90"] < found["hours"]["p90"]


def test_a_resume_keeps_it_to_the_byte_and_settings_that_decide_nothing_may_change(folder):
    begin()
    before = KEPT.read_bytes()
    for changed in ((), ("train.log_every=3", "train.profile_steps=[9, 10]", f"runs_dir={folder}/runs")):
        found, said = begin(8, *changed)
        assert (KEPT.read_bytes(), said, found) == (before, [], json.loads(before)), changed


@pytest.mark.parametrize("other", ["train.num_steps=48", "train.validate_every=2", "machine.num_threads=7"])
def test_a_resume_with_other_settings_keeps_no_stale_one(folder, other):
    begin()
    found, said = begin(8, other)
    assert found is None
    assert not KEPT.exists()
    assert "other settings" in said[0]


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
