"""Where a budget is spent: devices that were named, the GPU at hand, or the processor. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.plan.asked import Rates
from headwater.plan.budget import parse_amount, parse_hardware
from headwater.plan.candidate import Cluster, on_cluster
from headwater.plan.device import Device, read_devices
from headwater.plan.efficiency import shipped_constants
from headwater.plan.energy import AVERAGE, mean_watts, site_or_average
from headwater.plan.money import KINDS, find_price, read_prices
from headwater.plan.search import Guess, Make
from headwater.recipes.planned_around import around_of_search
from headwater.recipes.planned_device import gpu_to_use
from headwater.recipes.planned_text import usual_bytes_per_token
from headwater.recipes.run_config import RunConfig
from headwater.recipes.searched_processor import Processor, processor_at_hand
from headwater.recipes.searched_text import Text
from headwater.recipes.wishes import Wishes


@dataclass(frozen=True)
class Place:
    """Where to train: its rates, a first guess of tokens for hours, and candidates of a size."""

    rates: Rates
    guess: Callable[[float], Guess]
    make: Make
    is_processor: bool


def place_of(wishes: Wishes, config: RunConfig | None, text: Text) -> Place:
    """Return the devices that were named, else the GPU at hand, else the processor."""
    max_memory = parse_amount("--max-memory", wishes.max_memory, "bytes") if wishes.max_memory else None
    read_prices(wishes.price or None, wishes.prices)
    halved = None if config is None else config.train.half_length_fraction
    if wishes.hardware:
        num_devices, device = parse_hardware(wishes.hardware, read_devices(wishes.hardware_table))
        cluster = Cluster(num_devices, device, max_memory, wishes.precision, half_length_fraction=halved)
        return _on_devices(wishes, cluster, site=wishes.site or AVERAGE)
    gpu = gpu_to_use("auto" if config is None else config.machine.device)
    if gpu is not None:
        cluster = Cluster(1, gpu, max_memory, wishes.precision, half_length_fraction=halved)
        return _on_devices(wishes, cluster, site=wishes.site)
    given = {"--precision": wishes.precision not in ("", "auto"), "--price": bool(wishes.price)}
    given["--hardware-table"] = wishes.hardware_table is not None
    if unused := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"{unused[0]} is for devices of the table, and a processor is planned for: name --hardware")
    processor = processor_at_hand(config, max_memory, around_of_search(config, text))
    prepare = 0.0 if text.is_built else wishes.bytes_per_token
    return Place(
        rates=_processor_rates(wishes, processor),
        guess=lambda seconds: lambda model: processor.guessed_tokens(model, seconds),
        make=lambda model, tokens: processor.looked(
            model, tokens, usual_bytes_per_token(model.vocab_size) if prepare is None else prepare
        ),
        is_processor=True,
    )


def _on_devices(wishes: Wishes, cluster: Cluster, site: str) -> Place:
    num_devices, device = cluster.num_devices, cluster.device
    cluster.precisions()  # what can't train there needs no price either
    fitted = shipped_constants()
    place, pue, power_how = site_or_average(site, wishes.sites)
    usd, how = _price(wishes, device)
    watts = mean_watts(device, fitted["constants"]["power_part"])
    rates = Rates(
        num_devices=num_devices,
        device=device.name,
        usd_per_hour=usd,
        price_how=how,
        watts=watts,
        watts_deviation=fitted["spread"]["power"],
        pue=pue,
        kg_co2_per_kwh=place.kg_co2_per_kwh,
        energy_how=f"{watts:.0f} W a device, {power_how}",
    )
    return Place(
        rates=rates,
        guess=lambda seconds: lambda model: cluster.guessed_tokens(model, seconds, math.inf),
        make=lambda model, tokens: on_cluster(cluster, model, tokens),
        is_processor=False,
    )


def _price(wishes: Wishes, device: Device) -> tuple[float | None, str]:
    if wishes.price_per_hour is not None:
        return wishes.price_per_hour, "--price-per-hour"
    price = find_price(device, wishes.price or None, wishes.prices, wishes.hardware_table)
    if price is None:
        named = f"{wishes.price} " if wishes.price else ""
        others = [
            found.kind
            for found in (find_price(device, kind, wishes.prices, wishes.hardware_table) for kind in KINDS)
            if found
        ]
        there = f"; it has {', '.join(others)}" if others else ""
        return None, (
            f"no {named}price of {device.name} is in the price table{there}: give --price-per-hour, of one device"
        )
    seen = f"{price.low:g} to {price.high:g} seen"
    lost = "; what preemption takes isn't counted" if price.kind == "spot" else ""
    return price.usd_per_hour, f"{price.kind} price of {price.date}, {seen}: {price.source}{lost}"


def _processor_rates(wishes: Wishes, processor: Processor) -> Rates:
    site, pue, power_how = site_or_average(wishes.site, wishes.sites)
    return Rates(
        num_devices=1,
        device=processor.name,
        usd_per_hour=wishes.price_per_hour,
        price_how="--price-per-hour"
        if wishes.price_per_hour is not None
        else "no price is known for this machine: give --price-per-hour, or name devices: --hardware 8xH100",
        watts=processor.watts,
        watts_deviation=processor.watts_deviation,
        pue=pue,
        kg_co2_per_kwh=site.kg_co2_per_kwh,
        energy_how=f"{processor.watts:g} W, {power_how}",
    )
