from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from headwater.machine.device.device import Gpu
from headwater.machine.host import energy
from headwater.machine.host.energy import WATTS_A_CORE, EnergyMeter


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """Set the microjoules of two CPU packages; their counters wrap at 1000 J."""
    monkeypatch.setattr(energy, "RAPL", tmp_path)

    def set_counters(*microjoules: int | str) -> None:
        for number, value in enumerate(microjoules):
            zone = tmp_path / f"intel-rapl:{number}"
            zone.mkdir(exist_ok=True)
            (zone / "energy_uj").write_text(f"{value}\n")
            (zone / "max_energy_range_uj").write_text("999999999\n")

    return set_counters


MEASURED = pytest.approx((160 + 200) / 3600)
PACKAGES = (900_000_000, 5_000_000), (60_000_000, 205_000_000)  # one wraps


@pytest.mark.parametrize(
    ("before", "after", "gpus", "watt_hours", "words"),
    [
        (*PACKAGES, [], MEASURED, "measured"),
        ((), (), [], WATTS_A_CORE * 4 / 2, "estimated: 12 W a core × 4"),
        ((1, 2), (1, ""), [], WATTS_A_CORE * 4 / 2, "estimated"),  # it went away or can't be read
        (*PACKAGES, ["GPU-a"], MEASURED, "the CPU's part alone, without the GPU"),
        ((), (), ["GPU-a"], WATTS_A_CORE * 4 / 2, "the CPU's part alone, without the GPU"),
    ],
)
def test_energy_is_that_of_the_counters_or_estimated_and_says_which(counters, before, after, gpus, watt_hours, words):
    counters(*before)
    meter = EnergyMeter(num_threads=4, gpus=gpus)
    counters(*after)
    found, how = meter.watt_hours(seconds=1800.0)
    assert found == watt_hours
    assert how.startswith(words)


def test_energy_of_the_gpus_seen_here_is_added_and_where_nvml_refuses_it_is_said(counters, monkeypatch):
    millijoules = {"GPU-a": 5_000, "GPU-b": 7_000, "GPU-of-others": 0}

    class NVMLError(Exception):
        pass

    def energy_of(name: str) -> int:
        if name not in millijoules:
            raise NVMLError
        return millijoules[name]

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
        NVMLError=NVMLError,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: SimpleNamespace(uuid="ab"[at]))
    before, after = PACKAGES
    counters(*before)
    meter = EnergyMeter(num_threads=4, gpus=Gpu().gpu_uuids())
    counters(*after)
    millijoules |= {"GPU-a": 5_000 + 3_600_000, "GPU-b": 7_000 + 1_800_000, "GPU-of-others": 10**9}
    found, how = meter.watt_hours(seconds=1800.0)
    assert found == pytest.approx(1.5 + (160 + 200) / 3600)
    assert how.startswith("measured by the GPUs' counters (NVML); the CPU's part is measured")
    del millijoules["GPU-b"]
    found, how = meter.watt_hours(seconds=1800.0)
    assert found == MEASURED and how.startswith("the CPU's part alone, without the GPU")
