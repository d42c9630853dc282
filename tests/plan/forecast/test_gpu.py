"""Sizes on GPUs: sums by hand, trying every batch and microbatch, and what can't be."""

from __future__ import annotations

import pytest

from headwater.model.optim.settings import OptimSettings
from headwater.plan.forecast.device import find_device, read_devices

DEVICES = read_devices()
H100 = find_device("H100", DEVICES)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)
HOUR = 3600.0


def test_a_run_takes_six_flops_a_parameter_and_token_at_two_fifths_of_the_peak():
    # 1 billion parameters on 20 billion tokens: 1.2e20 FLOPs; 8 H100 of 989 TFLOP/s give 3.165e15 of them a second
    assert 20e9 * H100.seconds_per_token(1e9, 8) / HOUR == pytest.approx(1.2e20 / 3.1648e15 / HOUR, rel=1e-3)
    again = H100.seconds_per_token(1e9, recomputed=1.0) / H100.seconds_per_token(1e9)
    assert again == pytest.approx(4 / 3)  # a second forward pass
