"""Forecasts of a run whose schedule isn't that of the runs they come from: effect, widened, said; else left alone."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_run import write_run_file, write_texts

from headwater.optim.settings import ScheduleSettings
from headwater.runs import plan_time
from headwater.runs.budget_search import search_budget
from headwater.runs.ladder_record import FORMAT, DoneRung, Rung, ladder_table, read_ladder, same_make, unfinished_ladder
from headwater.runs.plan_loss import factors_of, loss_outlook
from headwater.runs.run_config import load_run
from headwater.runs.search_options import SearchOptions
from headwater.runs.times import NOT_MEASURED
from headwater.scaling.schedule import move

SIZES = {"num_layers": 2, "d_model": 16, "num_heads": 1, "num_kv_heads": 1, "head_dim": 16, "d_ff": 64}
RUNG = Rung(**SIZES, num_steps=8, params=1e4, tokens=4096, flops=1e9, seconds=1.0)
PLACE = Path("runs/mine/ladder")


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
    PLACE.mkdir(parents=True)
    write_rows(PLACE / "runs.csv", (1e4, 3e4, 1e5), (3e4, 1e5, 3e5))
    done = DoneRung(RUNG, {"all": 2.0, "mine": 2.0}, 0.01, 1.0, "float32", 1, "a processor", NOT_MEASURED)
    record = {"format": FORMAT, "of": same_make(of()), "rungs": [asdict(done)]}
    (PLACE / "ladder.json").write_text(json.dumps(record))
    return PLACE / "runs.csv"


@pytest.fixture
def table(ladder) -> Path:
    """Return the same rows as a table of anybody's."""
    return Path(shutil.copy(ladder, "runs.csv"))


CHANGES = [
    ("schedule.decay_fraction=0.1",),
    ("schedule.name=cosine", "schedule.final_fraction=0.1"),
    ("schedule.final_fraction=1.0",),
    ("schedule.warmup_steps=12",),
]


def test_the_ladders_own_schedule_moves_no_bit(ladder, table):
    assert ladder_table(of()) == ladder
    found = loss_outlook(of(), ladder)
    assert found.spread == loss_outlook(of(), table).spread
    assert "multi-power" not in found.how


@pytest.mark.parametrize("changes", CHANGES, ids=" ".join)
def test_another_schedule_moves_the_ladders_forecast_by_the_law_and_widens_it(ladder, changes):
    run, before = of(*changes), loss_outlook(of(), ladder).spread
    assert ladder_table(run) == ladder
    found = loss_outlook(run, ladder)
    effect = move(factors_of(run.schedule, 24), factors_of(of().schedule, 24), 24)
    assert effect.log_ratio != 0
    assert found.spread.median == pytest.approx(before.median * math.exp(effect.log_ratio), rel=1e-12)
    assert found.spread.log_deviation == pytest.approx(math.hypot(before.log_deviation, effect.deviation), rel=1e-12)
    assert f"{math.expm1(effect.log_ratio):+.1%}" in found.how
    assert "had wsd down to 0 over the last 50% after 1 step of warm-up, by the multi-power law" in found.how


def test_a_setting_that_the_schedule_doesnt_read_moves_nothing(ladder):
    cosine = "schedule.name=cosine"
    record = json.loads((PLACE / "ladder.json").read_text())
    record["of"] = same_make(of(cosine))
    (PLACE / "ladder.json").write_text(json.dumps(record))
    assert loss_outlook(of(cosine, "schedule.decay_fraction=0.1"), ladder) == loss_outlook(of(cosine), ladder)


def test_settings_beside_the_schedule_still_make_the_ladder_anothers(ladder):
    assert read_ladder(of("schedule.decay_fraction=0.1")) == read_ladder(of()) != []
    assert read_ladder(of("schedule.decay_fraction=0.1", "optim.matrix_lr=0.5")) == []


@pytest.mark.parametrize("damaged", [None, {}, {"name": "steps"}, "wsd"])
def test_a_ladder_without_a_schedule_says_nothing(ladder, damaged):
    record = json.loads((PLACE / "ladder.json").read_text())
    record["of"]["schedule"] = damaged
    (PLACE / "ladder.json").write_text(json.dumps(record))
    assert read_ladder(of()) == []


def test_a_ladder_started_again_for_the_schedule_is_seen_beside_the_old_one(ladder):
    assert unfinished_ladder(of()) is None
    run = of("schedule.decay_fraction=0.1")
    (PLACE / "design.json").write_text(json.dumps({"of": {"run": same_make(run)}, "rungs": [asdict(RUNG)]}))
    (PLACE / RUNG.name).mkdir()
    assert unfinished_ladder(run).num_rungs == 1
    assert unfinished_ladder(of()) is None


@pytest.mark.parametrize("changes", CHANGES, ids=" ".join)
def test_of_an_unknown_table_only_a_rate_that_never_falls_is_held_against_the_usual(table, changes):
    run = of(*changes)
    before, found = loss_outlook(of(), table), loss_outlook(run, table)
    if run.schedule.final_fraction < 0.5:
        assert found == before
        return
    usual = ScheduleSettings(name="cosine", warmup_steps=run.schedule.warmup_steps, final_fraction=0.1)
    effect = move(factors_of(run.schedule, 24), factors_of(usual, 24), 24)
    assert found.spread.median > before.spread.median
    assert found.spread.median == pytest.approx(before.spread.median * math.exp(effect.log_ratio), rel=1e-12)
    assert found.spread.log_deviation > before.spread.log_deviation
    assert "a constant rate" in found.how
    assert "as is assumed, had cosine down to 0.1" in found.how


def test_a_forecast_that_is_refused_stays_refused(table):
    run = of("schedule.final_fraction=1.0")
    far = run.model_copy(update={"train": run.train.model_copy(update={"num_steps": 10**9})})
    found = loss_outlook(far, table)
    assert found.spread is None
    assert "multi-power" not in found.how


def test_a_searched_run_gets_its_schedule_too(ladder, monkeypatch):
    # both searches on the same machine: what it measures decides how many tokens a minute takes
    monkeypatch.setattr(plan_time, "float32_rate_per_core", lambda: 1e11)
    large = write_rows(Path("large.csv"), (1e5, 3e5, 1e6, 3e6), (3e5, 1e6, 3e6, 1e7))
    given = SearchOptions("60s", run="mine.toml", text_bytes="40M", runs=large)
    before = search_budget(given)
    found = search_budget(replace(given, overrides=("schedule.final_fraction=1.0",)))
    usual = ScheduleSettings(name="cosine", warmup_steps=1, final_fraction=0.1)
    effect = move(factors_of(of("schedule.final_fraction=1.0").schedule, 24), factors_of(usual, 24), 24)
    first, then = (plan.choices[0].loss for plan in (before, found))
    assert then.p50 == pytest.approx(first.p50 * math.exp(effect.log_ratio), rel=1e-3)
    assert then.p90 / then.p10 > first.p90 / first.p10
    assert "multi-power law" in found.losses_how
    assert "multi-power law" not in before.losses_how


def test_a_long_run_is_held_in_shares():
    schedule = ScheduleSettings(warmup_steps=2000)
    found = factors_of(schedule, 100_000)
    assert len(found) == 2000
    assert max(found) == 1
    assert sum(found) / len(found) == pytest.approx(0.01 + 0.48 + 0.25, abs=0.001)
