"""The page of a plan: its numbers, its pictures, and text that must stay text."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import test_render
from read_page import read_page
from small_run import call, write_run_file, write_texts

from headwater.numbers import significant
from headwater.report.plan import write_plan_page
from headwater.runs import hardware
from headwater.runs.costs import Costs
from headwater.runs.plan import PlanOptions, plan_run
from headwater.runs.run_config import load_run


@pytest.fixture(scope="module")
def plan():
    config, _ = load_run("first-light", ["runs_dir=nowhere", "machine.num_threads=2"])
    with pytest.MonkeyPatch.context() as patch:  # what a busy machine measures differs from call to call
        patch.setattr(hardware, "float32_rate_per_core", lambda: 1e11)
        limit = 1.1 * plan_run(config, PlanOptions()).forecast.hours.p50
        return plan_run(config, PlanOptions(max_hours=limit, costs=Costs(price_per_hour=2.0))).fields() | {
            "limit": limit
        }


def test_every_known_quantity_is_drawn_with_its_band_filled(plan, tmp_path):
    write_plan_page(tmp_path / "plan.html", plan)
    page = read_page(tmp_path / "plan.html")
    assert [summary.split(":")[0] for summary in page.charts] == ["Time", "Memory", "Energy", "Carbon", "Money"]
    xs, _ = page.trace("Money", "P10 to P90")
    assert (xs[0], xs[-1]) == pytest.approx((plan["money"]["p10"], plan["money"]["p90"]))
    assert "no loss without runs to forecast from" in page.text
    assert "looks" not in page.text and "evaluation and report" in page.text


def test_the_curve_is_the_density_of_a_log_normal(plan, tmp_path):
    write_plan_page(tmp_path / "plan.html", plan)
    xs, ys = read_page(tmp_path / "plan.html").trace("Memory", "all")
    area = sum((b - a) * (f + g) / 2 for (a, b), (f, g) in zip(pairwise(xs), pairwise(ys)))
    low, high = plan["memory_gib"]["p10"], plan["memory_gib"]["p90"]
    pairs = [(x, y) for x, y in zip(xs, ys) if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
    part = sum((b - a) * (f + g) / 2 for (a, f), (b, g) in pairwise(pairs))
    assert part / area == pytest.approx(0.8, abs=0.01)
    assert math.isclose(max(ys), 1.0)


def test_a_limit_is_drawn_with_its_chance(plan, tmp_path):
    write_plan_page(tmp_path / "plan.html", plan)
    page = read_page(tmp_path / "plan.html")
    time = next(chart for summary, chart in page.charts.items() if summary.startswith("Time"))
    assert [note["text"] for note in time["layout"]["annotations"]] == ["P50", "limit"]
    middle, limit = (shape["x0"] for shape in time["layout"]["shapes"])
    assert limit / middle == pytest.approx(1.1, rel=0.1)
    chance = f"{100 * plan['probabilities']['over_max_hours']:.0f} % chance to take more than"
    assert f"{chance} {significant(limit)} min" in page.text


@pytest.mark.parametrize("text", test_render.HOSTILE, ids=range(len(test_render.HOSTILE)))
def test_hostile_text_stays_text(plan, tmp_path, text):
    spoilt = plan | {"name": "run" + text, "how": {name: how + text for name, how in plan["how"].items()}}
    write_plan_page(tmp_path / "plan.html", spoilt)
    page = read_page(tmp_path / "plan.html")
    assert len([element for element in page.all("script") if "type" not in element.attributes]) == 1
    assert not page.all("a") and not page.all("img")
    test_render.test_nothing_on_the_page_can_load_anything(page)


def test_the_command_writes_it(tmp_path):
    write_texts(tmp_path / "texts", 3)
    write_run_file(tmp_path / "mine.toml")
    said = call("plan", "mine.toml", "--page", "plan.html", cwd=tmp_path)
    assert said.status == 0, said
    assert "steps" in read_page(tmp_path / "plan.html").text
