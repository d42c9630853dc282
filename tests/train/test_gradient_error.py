"""How far rounding to int8 takes a gradient is measured, and said where it is too far."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_run import without_clock
from tiny_run import plan, train_here
from torch import nn

from headwater.cli.progress import TrainingDisplay
from headwater.core.records import read_records
from headwater.machine.device.device import Device
from headwater.machine.device.settings import MachineSettings
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import Ranks
from headwater.model.kernels.calls import Kernels
from headwater.model.kernels.int8 import Int8Products
from headwater.model.kernels.library import load_kernels
from headwater.train import gradients as gradients_module
from headwater.train.gradients import GradientCheck
from headwater.train.settings import MAX_GRADIENT_ERROR


def losses(run_dir) -> list[dict]:
    records = without_clock(read_records(run_dir / "records.jsonl", "step"))
    return [{name: value for name, value in record.items() if name != "gradient_error"} for record in records]


def checked_gradient(outlier: float) -> tuple[float | None, torch.Tensor, torch.Tensor]:
    """Return the largest error of two linear maps' gradients in int8, and the second's in int8 and bfloat16.

    Of each token one number is `outlier` times the others and means nothing, as in large models (arXiv:2208.07339).
    """
    products = Int8Products(Kernels(load_kernels(), 1))
    generator = torch.Generator().manual_seed(0)
    x, slopes = (torch.randn(512, 64, generator=generator) for _ in range(2))
    x[:, 0] *= outlier
    x = x.bfloat16()
    first, second = (nn.Linear(64, 64, bias=False) for _ in range(2))
    with torch.no_grad():
        first.weight[:, 0] = 0
    model = nn.Module()
    model.blocks = nn.ModuleList([first, second])
    model.blocks.products = products

    def compute(model: Any, parallel: DataParallel, microbatches: Any, num_targets: int) -> torch.Tensor:
        loss = (products(products(x, [first]), [second]) * slopes).sum()
        loss.backward()
        return loss.detach()

    parallel = DataParallel(Ranks(), Device())
    check = GradientCheck()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradients_module, "sum_gradients", compute)
        check(model, parallel, [], 1)
    found = second.weight.grad
    model.zero_grad()
    with products.unrounded():
        compute(model, parallel, [], 1)
    return check.error, found, second.weight.grad


@pytest.mark.parametrize(("outlier", "is_too_far"), [(1.0, False), (5.0, False), (200.0, True)])
def test_outliers_take_int8_too_far_from_bfloat16_and_usual_numbers_do_not(outlier, is_too_far):
    error, found, expected = checked_gradient(outlier)
    assert error >= 0.999 * float((found - expected).norm() / expected.norm())
    assert (error > MAX_GRADIENT_ERROR) is is_too_far, error


def test_an_int8_run_records_its_gradients_error_now_and_then_and_no_bit_changes(tmp_path, monkeypatch):
    found = {}
    for dtype, every in (("int8", 3), ("bfloat16", 3), ("int8", 100)):
        monkeypatch.setattr("headwater.train.settings.MIN_CHECK_STEPS", every)
        machine, folder = (
            MachineSettings(device="cpu", dtype=dtype, compile="on", num_threads=1),
            tmp_path / f"{dtype} {every}",
        )
        train_here(folder, replace(plan(num_steps=6, num_probes=0), machine=machine))
        steps = read_records(folder / "records.jsonl", "step")
        found[dtype, every] = {
            record["step"]: record["gradient_error"] for record in steps if "gradient_error" in record
        }
    assert list(found["int8", 3]) == [3, 6]
    assert all(0 < error < MAX_GRADIENT_ERROR for error in found["int8", 3].values()), found
    assert not found["bfloat16", 3] and not found["int8", 100]
    assert losses(tmp_path / "int8 3") == losses(tmp_path / "int8 100")


@pytest.mark.parametrize(("error", "is_said"), [(0.1, False), (0.3, True)])
def test_an_error_above_the_limit_is_said(error, is_said):
    out = io.StringIO()
    display = TrainingDisplay(plan().train, out=out)
    display({"event": "start", "step": 0, "device": {"dtype": "int8"}})
    numbers = {"loss": 1.0, "lr": 1.0, "grad_norm": 1.0, "seconds": 1.0, "mfu": 0.5, "data_wait_fraction": 0.0}
    display(
        {"event": "step", "step": 7, "tokens_seen": 9, "tokens_per_second": 1.0, "gradient_error": error, **numbers}
    )
    words = "step 7: rounding to int8 changes a matrix's gradient by 30% of its norm, over 25%"
    assert (words in out.getvalue()) is is_said
