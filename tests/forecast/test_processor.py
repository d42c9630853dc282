"""Time of a step on a processor: work counted by hand, and the measured shapes given back."""

from __future__ import annotations

from itertools import product

import pytest

from headwater.forecast import processor
from headwater.forecast.processor import (
    USUAL,
    Peaks,
    constants,
    kind_of,
    measured_kind,
    muon_flops,
    sizes_of,
    step_flops,
    step_seconds,
)
from headwater.model.count import flops_per_token

KINDS = [kind["name"] for kind in constants()["kinds"]]
SHAPES = measured_kind(USUAL)["shapes"]
LARGEST = SHAPES[-1]


@pytest.mark.parametrize("number", range(len(SHAPES)))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_measured_shape_gets_its_own_seconds(number, kind, dtype):
    measured = measured_kind(kind)
    shape, peaks = measured["shapes"][number], measured["peak_flops_per_second"]
    sizes = sizes_of(processor._model(shape), is_muon=True, block_rows=shape["block_rows"])
    at = Peaks(peaks[dtype], peaks["bfloat16"], dtype, "as measured", kind)
    found = step_seconds(sizes, shape["rows"] * shape["seq_len"], at)
    assert found == pytest.approx(shape[f"{dtype}_ms"] / 1000, rel=1e-6)


def test_first_light_takes_what_it_took_on_a_processor_with_amx():
    model = processor._model(measured_kind("amx")["shapes"][2] | {"vocab_size": 6144})
    peaks = measured_kind("amx")["peak_flops_per_second"]
    at = Peaks(peaks["bfloat16"], peaks["bfloat16"], "bfloat16", "", "amx")
    # 33,400 tokens a second between probes, half of the steps in rows of half the length (docs/log.md)
    assert step_seconds(sizes_of(model, True, None, 0.5), 4096, at) == pytest.approx(4096 / 33_400, rel=0.1)


# seconds of a step in int8 at the machine's faster speed: first-light's rungs, seed 2 (docs/log.md); widths 64 and 128
# made two rows of the table, at depth 4
RUNGS = {(2, 64): 0.0589, (4, 64): 0.0770, (3, 128): 0.1223, (4, 128): 0.1433, (4, 192): 0.2279}


@pytest.mark.parametrize("shape", RUNGS, ids=str)
def test_narrow_models_are_forecasts_as_the_ladder_found_them(shape):
    layers, width = shape
    model = processor._model(SHAPES[0] | {"num_layers": layers, "d_model": width, "num_heads": width // 64})
    peaks = measured_kind(USUAL)["peak_flops_per_second"]
    found = step_seconds(sizes_of(model, True, None), 4096, Peaks(peaks["int8"], peaks["bfloat16"], "int8", ""))
    assert found == pytest.approx(RUNGS[shape], rel=0.15)


def test_no_part_is_faster_than_the_peak():
    for width in (32, 64, 192, 300, 768, 2048):
        for dtype, kind in product(("int8", "bfloat16"), KINDS):
            rates = processor.efficiencies(width, dtype, kind)
            assert all(0 < rates[part] < 1 for part in ("matmul", "loss", "attention", "optimizer")), rates


@pytest.mark.parametrize("kind", KINDS)
def test_a_processor_is_of_the_kind_whose_instructions_it_lists(kind):
    flags = set(measured_kind(kind)["flags"])
    assert kind_of({"fpu", "avx2", *flags}) == kind
    assert kind_of(set()) == USUAL


def test_work_of_the_model_is_what_the_card_says():
    model = processor._model(SHAPES[0])
    work = step_flops(sizes_of(model, is_muon=True, block_rows=None), 4096)
    assert work["matmul"] + work["loss"] + work["attention"] == pytest.approx(4096 * flops_per_token(model))


def test_muon_counts_its_matrices_either_way_round():
    assert muon_flops(((3, 5, 2),)) == muon_flops(((5, 3, 2),)) == 2 * 4 * (3 * 9 * 5 + 27)


def test_no_orthogonalisation_without_muon():
    assert step_flops(sizes_of(processor._model(SHAPES[0]), is_muon=False, block_rows=None), 4096)["optimizer"] == 0


def test_muon_at_the_third_shape_is_what_the_log_says():
    # docs/log.md: whole matrices, 0.94 TFLOP beside the model's 1.47
    work = step_flops(sizes_of(processor._model(LARGEST), is_muon=True, block_rows=None), 2048)
    assert work["optimizer"] == pytest.approx(0.94e12, rel=0.02)
    assert work["matmul"] + work["loss"] + work["attention"] == pytest.approx(1.47e12, rel=0.01)
