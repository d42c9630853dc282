"""Power, prices and devices: the table, and what is said of a wrong cell."""

from __future__ import annotations

import re

import pytest

from headwater.core.errors import ConfigError, DataError
from headwater.core.tables import table
from headwater.plan.forecast.device import COLUMNS, device_of_driver, find_device, read_devices

DEVICES = read_devices()
HARDWARE = ",".join(COLUMNS)


def test_power_is_the_limit():
    assert find_device("H100", DEVICES).watts == 700


@pytest.mark.parametrize("name", ["H100", "H200", "B200", "GB200", "A100-80GB", "A100-40GB", "L40S"])
def test_devices_are_compared_at_one_kind_of_price(name):
    device = find_device(name, DEVICES)
    assert device.usd_per_hour is not None
    assert re.match(r"on-demand price of \d{4}\S*: \S", device.price_how)


def test_every_figure_has_its_source_and_prices_their_date():
    for _, row in table("hardware.csv", None, COLUMNS):
        assert row["source"]
        assert bool(row["usd_per_hour"]) == bool(re.match(r"\d{4}\S*: \S", row["price_source"]))


def test_a_device_without_price_has_none():
    device = find_device("MI300X", DEVICES)
    assert device.usd_per_hour is None
    assert "no price of MI300X" in device.price_how


def test_the_range_of_a_price_is_what_was_seen():
    device = find_device("H100", DEVICES)
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) seen", device.price_how).groups())
    band = device.usd_per_hour.band()
    assert band.p90 / band.p10 == pytest.approx(high / low)


def test_unknown_names_say_what_there_is():
    with pytest.raises(ConfigError, match=r"no device 'H100-SXMM' in the hardware table, which has .*H100-SXM,"):
        find_device("H100-SXMM", DEVICES)


def test_devices_go_by_the_names_of_the_tables():
    for name in ("A100-80GB", "a100_80gb", "A100-40GB", "a100_40gb", "h100_80gb", "H100", "V100", "TPUv4", "H800"):
        assert find_device(name, DEVICES)


@pytest.mark.parametrize(
    ("driver", "name", "memory"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40", 42.4e9),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80", 85e9),
        ("NVIDIA A100-SXM-64GB", "A100-SXM-80", 64 * 2**30),
        ("NVIDIA H100 80GB HBM3", "H100-SXM", 85e9),
        ("NVIDIA H100 PCIe", "H100-PCIe", 85e9),
        ("NVIDIA GH200 480GB", "GH200", 96e9),
    ],
)
def test_a_device_has_the_memory_of_its_drivers_name(driver, name, memory):
    found = device_of_driver(driver, DEVICES)
    assert (found.name, found.memory_bytes) == (name, memory)


def test_devices_have_the_memory_that_their_driver_reports():
    """GiB that programs print of such devices; a gigabyte of a name is 2**30 bytes, less what the driver keeps."""
    for name, gib in {"V100": 31.75, "A100-40GB": 39.49, "A100-80GB": 79.15, "H100": 79.18, "H200": 139.8}.items():
        assert find_device(name, DEVICES).memory_bytes / 2**30 == pytest.approx(gib, rel=1e-3)


@pytest.mark.parametrize("driver", ["NVIDIA RTX A1000", "NVIDIA RTX 2000 Ada Generation", "NVIDIA L40", ""])
def test_a_device_whose_name_holds_anothers_is_not_that(driver):
    assert device_of_driver(driver, DEVICES) is None


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([HARDWARE, "X1,new,1000,80,fast,8"], "line 2, X1: watts='fast' is not a number"),
        ([f"{HARDWARE},usd_per_hour", "X1,new,1000,80,700,8,abc"], "line 2, X1: usd_per_hour='abc' is not a"),
        ([HARDWARE, "X1,new,1000,80,700,2.5"], "line 2, X1: node_size=2.5 must be a whole number"),
    ],
)
def test_a_wrong_cell_of_a_table_is_named_with_file_and_line(tmp_path, rows, says):
    path = tmp_path / "hardware.csv"
    path.write_text("\n".join(rows))
    with pytest.raises(DataError) as caught:
        read_devices(path)
    assert f"{path} {says}" in str(caught.value)
