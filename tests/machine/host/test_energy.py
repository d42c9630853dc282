from __future__ import annotations

import pytest

from headwater.machine.host import energy
from headwater.machine.host.energy import WATTS_A_CORE, EnergyMeter


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """Set the microjoules of two CPU packages; their counters wrap at 1000 J."""
    monkeypatch.setattr(energy, "RAPL", tmp_path)

    def set_counters(*microjoules: int) -> None:
        for number, value in enumerate(microjoules):
            zone = tmp_path / f"intel-rapl:{number}"
            zone.mkdir(exist_ok=True)
            (zone / "energy_uj").write_text(f"{value}\n")
            (zone / "max_energy_range_uj").write_text("999999999\n")

    return set_counters


def test_counters_are_summed_over_packages_also_when_one_wraps(counters):
    counters(900_000_000, 5_000_000)
    meter = EnergyMeter(num_threads=4)
    counters(60_000_000, 205_000_000)
    watt_hours, how = meter.watt_hours(seconds=1.0)
    assert watt_hours == pytest.approx((160 + 200) / 3600)
    assert how.startswith("measured")


def test_without_counters_it_is_estimated_and_says_so(counters):
    watt_hours, how = EnergyMeter(num_threads=4).watt_hours(seconds=1800.0)
    assert watt_hours == pytest.approx(WATTS_A_CORE * 4 / 2)
    assert how.startswith("estimated: 12 W a core × 4")


def test_counters_that_went_away_or_cannot_be_read_give_an_estimate(counters, tmp_path):
    counters(1, 2)
    meter = EnergyMeter(num_threads=1)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("")
    assert meter.watt_hours(1.0)[1].startswith("estimated")


@pytest.mark.parametrize("has_counters", [True, False])
def test_of_a_run_on_a_gpu_it_is_said_that_the_gpus_part_is_missing(counters, has_counters):
    counters(*[1] * has_counters)
    assert (
        EnergyMeter(num_threads=1, device="cuda").watt_hours(1.0)[1].startswith("the CPU's part alone, without the GPU")
    )
