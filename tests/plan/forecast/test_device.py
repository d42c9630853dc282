"""Power, prices and devices: the table, and what is said of a wrong cell."""

from __future__ import annotations

import re

import pytest
from golden_rows import rows

from headwater.core.errors import DataError
from headwater.core.tables import table
from headwater.plan.forecast.device import COLUMNS, device_of_driver, find_device, read_devices

DEVICES = read_devices()
HARDWARE = ",".join(COLUMNS)


def test_every_figure_has_its_source_and_prices_their_date():
    for _, row in table("gpus.csv", None, COLUMNS):
        assert row["source"]
        assert bool(row["usd_per_hour"]) == bool(re.match(r"\d{4}\S*: \S", row["price_source"]))


@pytest.mark.parametrize(("driver", "name", "memory"), rows("a_device_has_the_memory_of_its_drivers_name"))
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
