"""Amounts as people write them, and what is said of those that are none."""

from __future__ import annotations

import pytest

from headwater.core.errors import ConfigError
from headwater.machine.ranks.place import Place
from headwater.plan.amounts import parse_amount, parse_budget, parse_devices, parse_hardware
from headwater.plan.forecast.device import read_devices


@pytest.mark.parametrize(
    ("text", "usd"),
    [("$10k", 10_000), ("10k$", 10_000), ("500 USD", 500), ("$1.5M", 1_500_000), ("$2,500", 2500), ("usd 20", 20)],
)
def test_money_is_read(text, usd):
    budget = parse_budget(text)
    assert (budget.usd, budget.hours) == (usd, None)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2h", 2), ("90min", 1.5), ("90m", 1.5), ("3d", 72), ("1.5 days", 36), ("1 week", 168), ("36s", 0.01), ("2H", 2)],
)
def test_time_is_read(text, hours):
    budget = parse_budget(text)
    assert budget.usd is None
    assert budget.hours == pytest.approx(hours)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10k", "single quotes"),
        ("", "single quotes"),
        ("0k", "single quotes"),  # what a shell leaves of $10k
        ("12", "dollars"),
        ("-5h", "above zero"),
        ("$0", "above zero"),
        ("0h", "above zero"),
        ("5 apples", "neither money"),
        ("$1e999", "above zero"),
    ],
)
def test_no_budget_is_explained(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_budget(text)


@pytest.mark.parametrize(
    ("text", "num", "name"),
    [
        ("8xH100", 8, "H100-SXM"),
        ("8×h100", 8, "H100-SXM"),
        ("H200", 1, "H200"),
        ("1,024 x A100-80GB", 1024, "A100-SXM-80"),
        ("16 B200", 16, "B200"),
    ],
)
def test_hardware_is_read(text, num, name):
    num_devices, device = parse_hardware(text, read_devices())
    assert (num_devices, device.name) == (num, name)


@pytest.mark.parametrize(
    ("hardware", "ranks", "fewest", "machines", "num_local"),
    [
        ("6xH100", "", 1, 1, 6),
        ("12xH100", "", 1, 2, 6),
        ("16xH100", "", 1, 2, 8),
        ("13xH100", "", 1, 13, 1),
        ("H100", "", 16, 2, 8),
        ("H100", "4x2", 16, 4, 2),
        ("16xH100", "", 4, 2, 8),
        ("", "", 16, 1, 16),
    ],
)
def test_machines_of_a_device_have_equally_many_and_no_more_than_a_node(hardware, ranks, fewest, machines, num_local):
    _, place = parse_devices(hardware, ranks, fewest, read_devices())
    assert place == Place(0, machines * num_local, 0, num_local)


@pytest.mark.parametrize(
    ("text", "says"),
    [("8xH1000", "no device 'H1000'"), ("0xH100", "give 1 to"), ("", "is empty"), ("8x", "no device")],
)
def test_no_hardware_is_explained(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_hardware(text, read_devices())


@pytest.mark.parametrize(
    ("text", "noun", "value"),
    [
        ("40G", "bytes", 40e9),
        ("40GB", "bytes", 40e9),
        ("40 GiB", "bytes", 40 * 2**30),
        ("1.5T", "bytes", 1.5e12),
        ("100b", "bytes", 100),
        ("100 bytes", "bytes", 100),
        ("1b", "tokens", 1e9),
        ("2T tokens", "tokens", 2e12),
        ("5e9", "tokens", 5e9),
    ],
)
def test_amounts_are_read(text, noun, value):
    assert parse_amount("--x", text, noun) == value


@pytest.mark.parametrize("text", ["much", "-3G", "", "inf", "0", "3Gx"])
def test_no_amount_names_its_option(text):
    with pytest.raises(ConfigError, match="--text-bytes"):
        parse_amount("--text-bytes", text, "bytes")
