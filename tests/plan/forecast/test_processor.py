"""Time of a step on a processor: work counted by hand, and the measured shapes given back."""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

import pytest

from headwater.model.count import flops_per_token
from headwater.model.optim.settings import block_rows_for
from headwater.plan.forecast.processor import (
    USUAL,
    Peaks,
    constants,
    measured_kind,
    step_flops,
    step_seconds,
    utilisation,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from processor_shapes import shape_model

KINDS = [kind["name"] for kind in constants()["kinds"]]
SHAPES = measured_kind(USUAL)["shapes"]


@pytest.mark.parametrize("number", range(len(SHAPES)))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_measured_shape_gets_its_own_seconds(number, kind, dtype):
    measured = measured_kind(kind)
    shape, peaks = measured["shapes"][number], measured["peak_flops_per_second"]
    flops = step_flops(shape_model(shape), shape["rows"] * shape["seq_len"], shape["block_rows"])
    assert flops == shape["flops"], "the table's FLOPs are counted as a run's"
    at = Peaks(peaks[dtype], dtype, "as measured", kind)
    assert step_seconds(flops, shape["d_model"], at) == pytest.approx(shape[f"{dtype}_ms"] / 1000, rel=1e-6)


def test_first_light_takes_what_it_took_on_a_processor_with_amx():
    model = shape_model(measured_kind("amx")["shapes"][2] | {"vocab_size": 6144})
    peaks = measured_kind("amx")["peak_flops_per_second"]
    at = Peaks(peaks["bfloat16"], "bfloat16", "", "amx")
    # 33,400 tokens a second between probes, half of the steps in rows of half the length (docs/log.md)
    seconds = step_seconds(step_flops(model, 4096, half_length_fraction=0.5), model.d_model, at)
    assert seconds == pytest.approx(4096 / 33_400, rel=0.1)


# seconds of a step in int8 at the machine's faster speed: first-light's rungs, seed 2 (docs/log.md); widths 64 and 128
# made two rows of the table, at depth 4
RUNGS = {(2, 64): 0.0589, (4, 64): 0.0770, (3, 128): 0.1223, (4, 128): 0.1433, (4, 192): 0.2279}


@pytest.mark.parametrize("shape", RUNGS, ids=str)
def test_narrow_models_are_forecasts_as_the_ladder_found_them(shape):
    layers, width = shape
    model = shape_model(SHAPES[0] | {"num_layers": layers, "d_model": width, "num_heads": width // 64})
    peaks = measured_kind(USUAL)["peak_flops_per_second"]
    found = step_seconds(step_flops(model, 4096), width, Peaks(peaks["int8"], "int8", ""))
    assert found == pytest.approx(RUNGS[shape], rel=0.15)


# ms of a step of one size changed at a time around 4 layers, width 256, sequence 512, vocabulary 8,192 and 4,096 tokens:
# docs/performance.md; no row of them made a constant
CHANGED = {
    ("num_layers", 1): 236.4,
    ("num_layers", 8): 645.7,
    ("num_layers", 16): 1271.5,
    ("d_model", 128): 170.5,
    ("d_model", 512): 1075.0,
    ("d_model", 1024): 2705.5,
    ("tokens", 1024): 142.6,
    ("tokens", 16384): 1542.9,
}


def test_shapes_that_made_no_constant_are_forecast_and_nearer_than_by_one_rate_for_all():
    peaks = measured_kind(USUAL)["peak_flops_per_second"]
    at, usual, errors, baseline = Peaks(peaks["int8"], "int8", ""), utilisation(192, "int8"), [], []
    for (name, value), milliseconds in CHANGED.items():
        shape = {"num_layers": 4, "d_model": 256, "seq_len": 512, "vocab_size": 8192, "tokens": 4096} | {name: value}
        model, tokens = shape_model(shape | {"num_heads": shape["d_model"] // 64}), shape["tokens"]
        block_rows = block_rows_for(model.d_model, model.d_ff, tokens)
        found = step_seconds(step_flops(model, tokens, block_rows), model.d_model, at)
        errors.append(abs(math.log(found / milliseconds * 1000)))
        simple = flops_per_token(model) * tokens / (peaks["int8"] * usual)
        baseline.append(abs(math.log(simple / milliseconds * 1000)))
    assert statistics.median(errors) < 0.10, errors
    assert statistics.median(errors) < statistics.median(baseline), (errors, baseline)
