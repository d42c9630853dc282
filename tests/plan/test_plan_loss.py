"""Forecasts of loss: of a ladder's rungs with the run's own schedule, and of a table whose schedule is unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from made_ladder import law, leave_ladder
from runs_table import write_runs
from small_run import write_run_file, write_texts

from headwater.plan import rungs
from headwater.plan.loss_outlook import loss_outlook
from headwater.plan.rungs import ladder_runs, read_ladder, rung_of
from headwater.runfile.run_config import load_run


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


def test_the_ladders_own_schedule_moves_nothing(ladder):
    found = loss_outlook(of(), None)
    assert found.spread.median == pytest.approx(law(rung_of(of()).size, 12288), rel=0.02)


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
