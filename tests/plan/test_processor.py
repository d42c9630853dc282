"""Time of a step on a processor: work counted by hand, and the measured shapes given back."""

from __future__ import annotations

import pytest

from headwater.model.count import flops_per_token
from headwater.plan import processor
from headwater.plan.processor import (
    Peaks,
    constants,
    muon_flops,
    sizes_of,
    step_flops,
    step_seconds,
)

SHAPES = constants()["shapes"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape["d_model"]))
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_measured_shape_gets_its_own_seconds(shape, dtype):
    sizes = sizes_of(processor._model(shape), is_muon=True, block_rows=None)
    peaks = constants()["peak_flops_per_second"]
    found = step_seconds(
        sizes, shape["rows"] * shape["seq_len"], Peaks(peaks[dtype], peaks["bfloat16"], dtype, "as measured")
    )
    assert found == pytest.approx(shape[f"{dtype}_ms"] / 1000, rel=1e-6)


def test_no_part_is_faster_than_the_peak():
    for width in (64, 192, 300, 768, 2048):
        for dtype in ("int8", "bfloat16"):
            rates = processor.efficiencies(width, dtype)
            assert all(0 < rates[part] < 1 for part in ("matmul", "loss", "attention", "optimizer")), rates


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
    work = step_flops(sizes_of(processor._model(SHAPES[2]), is_muon=True, block_rows=None), 2048)
    assert work["optimizer"] == pytest.approx(0.94e12, rel=0.02)
    assert work["matmul"] + work["loss"] + work["attention"] == pytest.approx(1.47e12, rel=0.01)
