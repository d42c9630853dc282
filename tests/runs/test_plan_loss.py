"""Forecasts of loss: of a ladder's rungs with the run's own schedule, and of a table whose schedule is unknown."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_ladder import law, leave_ladder
from small_run import write_run_file, write_texts

from headwater.runs import hardware
from headwater.runs.budget_search import SearchOptions, search_budget
from headwater.runs.ladder_record import ladder_table, read_ladder, size_of
from headwater.runs.plan_loss import CONSTANT_RATE_COST, SCHEDULE_DEVIATION, loss_outlook
from headwater.runs.run_config import load_run

SIZES_M = ("25", "100", "400")


def of(*overrides: str):
    return load_run("mine.toml", list(overrides))[0]


def write_rows(path: Path, params: tuple[float, ...], tokens: tuple[float, ...]) -> Path:
    """Write runs of these sizes that follow a law, and return the file."""
    rows = [(p, t, 1.5 + 40 * p**-0.35 + 30 * t**-0.3) for p in params for t in tokens]
    path.write_text("params,tokens,loss\n" + "".join(f"{p},{t},{loss}\n" for p, t, loss in rows))
    return path


@pytest.fixture
def ladder(tmp_path, monkeypatch) -> Path:
    """Leave a run file and what a finished ladder of it leaves; return the ladder's table."""
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 60)  # enough to be read once
    write_run_file(tmp_path / "mine.toml")
    return leave_ladder(of())


@pytest.fixture
def table(ladder) -> Path:
    """Return such rows as a table of anybody's."""
    return write_rows(Path("runs.csv"), (1e4, 3e4, 1e5), (3e4, 1e5, 3e5))


CHANGES = [
    ("schedule.decay_fraction=0.1",),
    ("schedule.name=cosine", "schedule.final_fraction=0.1"),
    ("schedule.final_fraction=1.0",),
    ("schedule.warmup_steps=12",),
]


def test_the_ladders_own_schedule_moves_nothing(ladder):
    assert ladder_table(of()) == ladder
    found = loss_outlook(of(), ladder)
    assert found.spread.median == pytest.approx(law(size_of(of().model), 12288), rel=0.02)
    assert "decays" not in found.how


CURVES = Path(__file__).parents[2] / "benchmarks/data/scaling/multi_power_curves.csv"
DECAYED = {"24000": ("cosine_24000", "wsd_20000_24000", "wsdld_20000_24000"), "72000": ("cosine_72000",)}


def test_a_rate_that_never_decays_costs_what_it_did_in_published_runs():
    rows = list(csv.DictReader(CURVES.read_text().splitlines()))
    last = {(row["model_m"], row["schedule"]): float(row["loss"]) for row in rows}  # rows are in the order of steps
    pairs = [(f"constant_{end}", name, size) for end, names in DECAYED.items() for name in names for size in SIZES_M]
    costs = [math.log(last[size, one] / last[size, other]) for one, other, size in pairs]
    assert np.mean(costs) == pytest.approx(CONSTANT_RATE_COST, abs=0.001)
    assert np.std(costs) == pytest.approx(SCHEDULE_DEVIATION, abs=0.001)


@pytest.mark.parametrize("changes", [*CHANGES, ("optim.matrix_lr=0.5",)], ids=" ".join)
def test_a_ladder_of_another_schedule_or_rate_is_anothers(ladder, changes):
    assert read_ladder(of()) != []
    assert read_ladder(of(*changes)) == []
    assert ladder_table(of(*changes)) is None


@pytest.mark.parametrize("loss", [[1], "x", {"all": "1.2"}, {"all": 10**400}, {"all": -1.0}, {"b": 1.0}])
def test_a_ladder_with_a_rung_whose_loss_cant_be_says_nothing(ladder, loss):
    path = next(ladder.parent.glob("*/rung.json"))
    record = json.loads(path.read_text())
    record["loss"] = loss
    path.write_text(json.dumps(record))
    assert read_ladder(of()) == []


@pytest.mark.parametrize("changes", CHANGES, ids=" ".join)
def test_of_an_unknown_table_only_a_rate_that_never_falls_is_held_against_the_usual(table, changes):
    run = of(*changes)
    before, found = loss_outlook(of(), table), loss_outlook(run, table)
    if run.schedule.final_fraction < 0.5:
        assert found == before
        return
    assert found.spread.median == pytest.approx(before.spread.median * math.exp(CONSTANT_RATE_COST), rel=1e-12)
    assert found.spread.log_deviation > before.spread.log_deviation
    assert "never decays and theirs does, as is assumed" in found.how


def test_a_forecast_that_is_refused_stays_refused(table):
    run = of("schedule.final_fraction=1.0")
    far = run.model_copy(update={"train": run.train.model_copy(update={"num_steps": 10**9})})
    found = loss_outlook(far, table)
    assert found.spread is None
    assert "decays" not in found.how


def test_a_searched_run_gets_its_schedule_too(ladder, monkeypatch):
    # both searches on the same machine: what it measures decides how many tokens a minute takes
    monkeypatch.setattr(hardware, "float32_rate_per_core", lambda: 1e11)
    large = write_rows(Path("large.csv"), (1e5, 3e5, 1e6, 3e6), (3e5, 1e6, 3e6, 1e7))
    given = SearchOptions("60s", run="mine.toml", text_bytes="40M", runs=large)
    before = search_budget(given)
    found = search_budget(replace(given, overrides=("schedule.final_fraction=1.0",)))
    first, then = (plan.choices[0].loss for plan in (before, found))
    assert then.p50 == pytest.approx(first.p50 * math.exp(CONSTANT_RATE_COST), rel=1e-3)
    assert then.p90 / then.p10 > first.p90 / first.p10
    assert "never decays" in found.losses_how
    assert "never decays" not in before.losses_how
