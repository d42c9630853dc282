"""The growth benchmark: fits against curves known by hand, its page, and one tiny measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.forecast.work import checkpoint_bytes
from headwater.runs.run_config import load_run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from growing.fit import find_bend, fit, residuals  # noqa: E402
from growing.point import write_random_tokens  # noqa: E402
from growing.tables import BEGIN, END  # noqa: E402
from growth import MEMORY_TOKENS, other_sizes, recipe_shape  # noqa: E402
from job import Shape  # noqa: E402

XS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
positive = st.floats(0.01, 100)


@given(positive, positive, positive)
def test_a_curve_of_the_named_powers_is_found_again(constant, slope, square):
    found = fit(XS, [constant + slope * x + square * x * x for x in XS], (0, 1, 2)).coefficients
    assert found == pytest.approx({0: constant, 1: slope, 2: square}, rel=1e-4)


def test_what_falls_is_fitted_by_a_constant_not_by_a_negative_slope():
    found = fit(XS, [110.0, 108.0, 106.0, 104.0, 102.0, 100.0], (0, 1))
    assert set(found.coefficients) == {0}
    assert max(map(abs, residuals(found, XS, [110.0, 108.0, 106.0, 104.0, 102.0, 100.0]))) < 0.06


def test_the_first_point_off_the_line_of_those_before_it_is_the_bend():
    ys = [5 + 3 * x for x in XS]
    assert find_bend(XS, ys, (0, 1)) is None
    ys[4] *= 1.3
    ys[5] *= 2.0
    bend = find_bend(XS, ys, (0, 1))
    assert (bend.x, bend.off) == (16.0, pytest.approx(0.3))
    ys[4] = (5 + 3 * 16.0) * 0.8
    assert find_bend(XS, ys, (0, 1)).off == pytest.approx(-0.2)


def test_the_page_in_the_documentation_has_the_markers():
    text = (BENCHMARKS.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_the_recipes_step_and_the_memory_of_its_size_are_those_of_the_plan():
    config, _ = load_run("gpt2-124m", [])
    shape = recipe_shape(config)
    assert (str(shape), shape.batch_tokens) == ("12,12,768,1024,50304,8", config.train.microbatch_tokens)
    # a layer of the sweep takes 4 bytes a token and unit of width
    layers = [point_of(num_layers, 4 * num_layers * 1000 * 100) for num_layers in (1, 4)]
    recipe = point_of(12, 10**9) | {"tokens": shape.batch_tokens, "cast_bytes": 2 * 123_568_128}
    found = other_sizes(config, recipe, layers)
    assert found["bytes_per_token_layer_width"] == pytest.approx(4)
    (row,) = [row for row in found["rows"] if (row["num_layers"], row["d_model"]) == (12, 768)]
    assert row["weights"] + row["optimizer"] == checkpoint_bytes(config.model, config.optim)
    assert row["activations"] == pytest.approx([4 * tokens * 12 * 768 for tokens in MEMORY_TOKENS])


def point_of(num_layers: int, activation_bytes: int) -> dict[str, object]:
    sizes = {"x": num_layers, "tokens": 1000, "shape": {"d_model": 100}}
    return sizes | {"peak_bytes": activation_bytes + 600, "held_bytes": 300, "state_bytes": 200, "cast_bytes": 100}


@pytest.mark.slow
def test_a_tiny_point_trains_in_a_process_of_its_own_and_says_what_it_took(tmp_path):
    from growing.point import Order

    shape = Shape(num_layers=1, num_heads=1, d_model=64, seq_len=64, vocab_size=300, rows=2)
    write_random_tokens(tmp_path, shape)
    order = Order(shape, str(tmp_path), "float32", 1, warmup_steps=1, min_steps=4, min_seconds=0.0)
    paths = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "growing.point", order.to_json()],
        capture_output=True, text=True, timeout=200, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    point = json.loads(done.stdout.splitlines()[-1])
    assert len(point["seconds_of_steps"]) == 4
    assert 0 < point["update_seconds"] < point["seconds"]
    assert point["num_threads"] == 1
    assert (point["dtype"], point["cast_bytes"]) == ("float32", 0)
    assert 10**7 < point["held_bytes"] < point["peak_bytes"] < 4 * 10**9
    assert point["peak_bytes"] - point["held_bytes"] > point["state_bytes"]
