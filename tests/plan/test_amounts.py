"""Amounts as people write them, and what is said of those that are none."""

from __future__ import annotations

import pytest
from golden_rows import rows

from headwater.core.errors import ConfigError
from headwater.machine.ranks.mesh import Place
from headwater.plan.amounts import parse_amount, parse_budget, parse_devices, parse_hardware, parse_ranks
from headwater.plan.forecast.device import read_devices


@pytest.mark.parametrize(
    ("text", "usd", "hours"),
    [
        *((text, 10_000, None) for text in ("$10k", "10k$", "usd 10_000")),
        *(("500 USD", 500, None), ("$1.5M", 1_500_000, None), ("$2,500", 2500, None)),
        *((text, None, 2) for text in ("2h", "2H", "120min", "7200s")),
        *(("90m", None, 1.5), ("3d", None, 72), ("1.5 days", None, 36), ("1 week", None, 168), ("36s", None, 0.01)),
    ],
)
def test_money_and_time_are_read(text, usd, hours):
    budget = parse_budget(text)
    assert (budget.usd, budget.hours) == (usd, hours and pytest.approx(hours))


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
    ("hardware", "ranks", "fewest", "machines", "num_local"), rows("machines_of_a_device_have_equally_many_and_no_more")
)
def test_machines_of_a_device_have_equally_many_and_no_more_than_a_node(hardware, ranks, fewest, machines, num_local):
    _, place = parse_devices(hardware, ranks, fewest, read_devices())
    assert place == Place(0, machines * num_local, 0, num_local)


@pytest.mark.parametrize(("text", "noun", "value"), rows("amounts_are_read"))
def test_amounts_are_read(text, noun, value):
    assert parse_amount("--x", text, noun) == value


@pytest.mark.parametrize(
    ("parse", "texts", "says"),
    [
        (parse_budget, ["10k", "", "0k"], "single quotes"),  # a shell leaves 0k of $10k
        (parse_budget, ["12"], "dollars"),
        (parse_budget, ["-5h", "$0", "0h", "$1e999"], "above zero"),
        (parse_budget, ["5 apples"], "neither money"),
        (lambda text: parse_hardware(text, read_devices()), ["8xH1000", "8x"], "no device"),
        (lambda text: parse_hardware(text, read_devices()), ["0xH100"], "give 1 to"),
        (lambda text: parse_hardware(text, read_devices()), [""], "is empty"),
        (parse_ranks, ["0", "two", "2x", "x2", "-1", "2x0", "1.5", "2x2x2"], "such as 8, or 4x8"),
        (lambda text: parse_amount("--x", text, "bytes"), ["much", "-3G", "", "inf", "0", "3Gx"], "--x"),
    ],
)
def test_what_is_no_amount_is_explained(parse, texts, says):
    for text in texts:
        with pytest.raises(ConfigError, match=says):
            parse(text)
