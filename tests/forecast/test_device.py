"""Power, sites, prices and devices: the tables, and what is said of a wrong cell."""

from __future__ import annotations

import re

import pytest

from headwater.errors import ConfigError, DataError
from headwater.forecast.device import (
    COLUMNS,
    PRICE_COLUMNS,
    SITE_COLUMNS,
    find_device,
    find_price,
    find_site,
    read_devices,
)
from headwater.tables import table

DEVICES = read_devices()
HARDWARE = ",".join(COLUMNS)


def test_power_is_the_limit():
    assert find_device("H100", DEVICES).watts == 700


@pytest.mark.parametrize("name", ["H100", "H200", "B200", "GB200", "A100-80GB", "A100-40GB", "L40S"])
def test_devices_are_compared_at_one_kind_of_price(name):
    price, how = find_price(find_device(name, DEVICES))
    assert price is not None
    assert re.match(r"on_demand price of \d{4}\S*: \S", how)


def test_every_figure_has_its_source_and_date():
    assert all(row["source"] and row["date"] for _, row in table("prices.csv", None, PRICE_COLUMNS))
    for name, columns in (("hardware.csv", COLUMNS), ("sites.csv", SITE_COLUMNS)):
        assert all(row["source"] for _, row in table(name, None, columns))


def test_a_device_without_price_has_none():
    assert find_price(find_device("MI300X", DEVICES))[0] is None
    none, why = find_price(find_device("H200", DEVICES), "reserved")
    assert none is None
    assert "it has on_demand, spot" in why
    spot, _ = find_price(find_device("H200", DEVICES), "spot")
    usual, _ = find_price(find_device("H200", DEVICES))
    assert spot and usual and spot.median < usual.median


def test_the_range_of_a_price_is_what_was_seen():
    price, how = find_price(find_device("H100", DEVICES))
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) seen", how).groups())
    assert price.band()["p90"] / price.band()["p10"] == pytest.approx(high / low)


def test_unknown_names_say_what_there_is():
    with pytest.raises(ConfigError, match="did you mean H100"):
        find_device("H100-SXMM", DEVICES)
    with pytest.raises(ConfigError, match=r"no device 'zzzzzzzz' in the hardware table\. It has "):
        find_device("zzzzzzzz", DEVICES)
    with pytest.raises(ConfigError, match="has average, llama-1"):
        find_site("mars")


def test_devices_go_by_the_names_of_the_tables():
    for name in ("A100-80GB", "a100_80gb", "A100-40GB", "a100_40gb", "h100_80gb", "H100", "V100", "TPUv4", "H800"):
        assert find_device(name, DEVICES)


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("prices", ["device,kind,usd_per_hour", "", "H100,spot,2", "H100,reserved,abc"], "line 4, H100 reserved: usd"),
        ("hardware", [HARDWARE, "X1,new,1000,80,fast,900,50,8"], "line 2, X1: watts='fast' is not a number"),
        ("sites", ["site,pue,kg_co2_per_kwh", "here,1.1,"], "line 2, here: kg_co2_per_kwh is needed and blank"),
    ],
)
def test_a_wrong_cell_of_a_table_is_named_with_file_and_line(tmp_path, name, rows, says):
    path = tmp_path / f"{name}.csv"
    path.write_text("\n".join(rows))
    read = {
        "prices": lambda: find_price(find_device("H100", DEVICES), "reserved", path),
        "hardware": lambda: read_devices(path),
        "sites": lambda: find_site("here", path),
    }
    with pytest.raises(DataError) as caught:
        read[name]()
    assert f"{path} {says}" in str(caught.value)
