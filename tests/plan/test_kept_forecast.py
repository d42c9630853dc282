"""The forecast that a run keeps, its loss by a ladder, and which rungs that has."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import pytest
from golden_rows import rows
from made_ladder import leave_ladder
from runs_table import write_runs
from small_run import call, write_run_file, write_texts

from headwater.core.errors import ConfigError
from headwater.core.records import read_records
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.plan import run_plan as plan
from headwater.plan import rungs
from headwater.plan.loss_outlook import loss_outlook
from headwater.plan.run_plan import forecast_of_run
from headwater.plan.rungs import Rung, choose_rungs, ladder_runs, read_ladder, rung_of, scaled_shapes
from headwater.plan.scaling.surface import Surface
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


BATCH = 4096
MODEL = ModelSettings(
    vocab_size=4096, num_layers=6, d_model=384, d_ff=1024, num_heads=6, num_kv_heads=6, head_dim=64, seq_len=256
)


def rung(model: ModelSettings, num_steps: int) -> Rung:
    flops = flops_per_token(model) * num_steps * BATCH
    return Rung(model, num_steps, tokens=num_steps * BATCH, flops=flops, seconds=3 + flops / 1e12)


TARGET = rung(MODEL, 2000)
CANDIDATES = [rung(model, steps) for model in scaled_shapes(MODEL) for steps in (100, 200, 400, 800, 1600)]


def variance(rungs: list[Rung]) -> float:
    runs = [*rungs, TARGET]
    return Surface([run.size for run in runs], [run.tokens for run in runs]).variance(range(len(rungs)))


def choose(seconds: float, candidates: list[Rung] = CANDIDATES) -> list[Rung]:
    return choose_rungs(candidates, TARGET, [seconds / TARGET.seconds])


def test_no_choice_of_six_is_much_better():
    some = [rung for rung in CANDIDATES if 4 <= TARGET.flops / rung.flops <= 40][::2][:12]
    budget = sum(sorted(rung.seconds for rung in some)[:9]) * 0.8
    chosen = choose(budget, some)
    affordable = [six for six in combinations(some, 6) if sum(rung.seconds for rung in six) <= budget]
    within = [six for six in affordable if any(rung.shape == TARGET.shape for rung in six)]
    assert len(within) > 20
    assert any(rung.shape == TARGET.shape for rung in chosen)
    assert variance(chosen) <= 1.05 * min(variance(list(six)) for six in within)


@pytest.mark.parametrize("changes", rows("smaller_models_are_models"))
def test_smaller_models_are_models(changes):
    model = ModelSettings.model_validate(MODEL.model_dump() | changes)
    shapes = scaled_shapes(model)
    assert shapes[0] == model
    assert len({count_parameters(shape).total for shape in shapes}) >= 3
    for shape in shapes:
        ModelSettings.model_validate(shape.model_dump())  # head counts divide, gpt2's heads fill its width
        assert count_parameters(shape).total <= count_parameters(model).total
        assert shape.num_heads // shape.num_kv_heads == model.num_heads // model.num_kv_heads


@pytest.mark.parametrize("budget", [1.0, 20.0, 60.0])
def test_the_share_that_is_advised_is_enough(budget):
    # the cheapest six are all of one size, which carry no law
    cheap = [replace(CANDIDATES[0], num_steps=60 + step, seconds=1.0) for step in range(8)]
    cheap = [replace(rung, flops=TARGET.flops / 30) for rung in cheap]
    others = [rung for rung in CANDIDATES if rung.seconds > budget / 6]
    with pytest.raises(ConfigError) as error:
        choose_rungs([*cheap, *others], TARGET, [min(budget, 5.0) / TARGET.seconds])
    advised = re.search(r"--share ([\d.]+)", str(error.value))
    assert advised is not None, str(error.value)
    assert len(choose_rungs([*cheap, *others], TARGET, [float(advised[1])])) == 6


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (TARGET, "train the run itself, or give --share"),
        (replace(TARGET, flops=TARGET.flops / 1000), "and 0 of them can be made; .* raise train.num_steps=2000 or"),
    ],
)
def test_what_no_ladder_fits_in(target, says):
    with pytest.raises(ConfigError, match=says):
        choose_rungs(CANDIDATES, target, [1.0 / target.seconds])
