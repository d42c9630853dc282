"""Where a budget is spent: devices that were named, the GPU at hand, or the processor. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.forecast.budget import parse_amount, parse_hardware
from headwater.forecast.candidate import Cluster, on_cluster
from headwater.forecast.device import Device, read_devices
from headwater.forecast.efficiency import shipped_constants
from headwater.forecast.energy import AVERAGE, mean_watts, site_or_average
from headwater.forecast.money import KINDS, find_price, read_prices
from headwater.forecast.query import Rates
from headwater.forecast.search import Guess, Make
from headwater.runs.costs import Costs
from headwater.runs.plan_machine import gpu_to_use
from headwater.runs.run_config import RunConfig
from headwater.runs.search_options import PRECISIONS, SearchOptions, Text
from headwater.runs.searched_processor import Processor, processor_at_hand
from headwater.runs.text_size import TOKEN_BYTES_OF_A_BYTE, token_bytes, usual_bytes_per_token

PRICE_SAID = "price_per_hour of the costs file"


@dataclass(frozen=True)
class Place:
    """Where to train: its rates, a first guess of tokens for hours, and candidates of a size."""

    rates: Rates
    guess: Callable[[float], Guess]
    make: Make
    is_processor: bool


def place_of(options: SearchOptions, config: RunConfig | None, text: Text) -> Place:
    """Return the devices that were named, else the GPU at hand, else the processor."""
    costs = options.costs
    max_memory = parse_amount("max_memory", costs.max_memory, "bytes") if costs.max_memory else None
    read_prices(costs.price_kind or None, costs.prices)
    dtype = options.sizes().get("dtype", "auto") if config is None else config.machine.dtype
    precision = PRECISIONS.get(dtype, "bf16")
    halved = None if config is None else config.train.half_length_fraction
    if options.hardware:
        num_devices, device = parse_hardware(options.hardware, read_devices(costs.hardware))
        cluster = Cluster(num_devices, device, max_memory, precision, options.all_layouts, halved)
        return _on_devices(options, cluster, site=costs.site or AVERAGE)
    gpu = gpu_to_use("auto" if config is None else config.machine.device)
    if gpu is not None:
        cluster = Cluster(1, gpu, max_memory, precision, options.all_layouts, halved)
        return _on_devices(options, cluster, site=costs.site)
    given = {"--all-layouts": options.all_layouts, "price_kind of the costs file": bool(costs.price_kind)}
    given["hardware of the costs file"] = costs.hardware is not None
    if unused := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"{unused[0]} is for devices of the table, and a processor is planned for: name --hardware")
    processor = processor_at_hand(config, max_memory, _token_bytes(config, text))
    prepare = 0.0 if text.is_built else costs.bytes_per_token
    return Place(
        rates=_processor_rates(options, processor),
        guess=lambda seconds: lambda model: processor.estimated_tokens(model, seconds),
        make=lambda model, tokens: processor.search(
            model, tokens, usual_bytes_per_token(model.vocab_size) if prepare is None else prepare
        ),
        is_processor=True,
    )


def _token_bytes(config: RunConfig | None, text: Text) -> float:
    if text.num_bytes is not None:
        return TOKEN_BYTES_OF_A_BYTE * text.num_bytes
    return 0.0 if config is None else token_bytes(config)


def _on_devices(options: SearchOptions, cluster: Cluster, site: str) -> Place:
    num_devices, device = cluster.num_devices, cluster.device
    cluster.precisions()  # what can't train there needs no price either
    fitted = shipped_constants()
    place, pue, power_how = site_or_average(site, options.costs.sites)
    usd, how = _price(options.costs, device)
    watts = options.costs.watts or mean_watts(device, fitted["constants"]["power_part"])
    rates = Rates(
        num_devices=num_devices,
        device=device.name,
        usd_per_hour=usd,
        price_how=how,
        watts=watts,
        watts_deviation=0.0 if options.costs.watts else fitted["spread"]["power"],
        pue=pue,
        kg_co2_per_kwh=place.kg_co2_per_kwh,
        energy_how=f"{watts:.0f} W a device, {power_how}",
        hours_how=_hours_how(fitted["hours_backtest"]),
        hours_backtest=fitted["hours_backtest"],
    )
    return Place(
        rates=rates,
        guess=lambda seconds: lambda model: cluster.estimated_tokens(model, seconds, math.inf),
        make=lambda model, tokens: on_cluster(cluster, model, tokens),
        is_processor=False,
    )


def _hours_how(backtest: dict[str, float]) -> str:
    return (
        f"forecasts of {backtest['runs']} published whole runs were {backtest['median']:.0%} off in the median, "
        f"{backtest['p90']:.0%} at P90; P10 to P90 is that wide. headwater itself was never timed on such devices"
    )


def _price(costs: Costs, device: Device) -> tuple[float | None, str]:
    if costs.price_per_hour is not None:
        return costs.price_per_hour, PRICE_SAID
    price = find_price(device, costs.price_kind or None, costs.prices, costs.hardware)
    if price is None:
        named = f"{costs.price_kind} " if costs.price_kind else ""
        others = [
            found.kind for found in (find_price(device, kind, costs.prices, costs.hardware) for kind in KINDS) if found
        ]
        there = f"; it has {', '.join(others)}" if others else ""
        return None, (
            f"no {named}price of {device.name} is in the price table{there}: give price_per_hour in a costs file "
            "(--costs)"
        )
    seen = f"{price.low:g} to {price.high:g} seen"
    lost = "; what preemption takes isn't counted" if price.kind == "spot" else ""
    return price.usd_per_hour, f"{price.kind} price of {price.date}, {seen}: {price.source}{lost}"


def _processor_rates(options: SearchOptions, processor: Processor) -> Rates:
    site, pue, power_how = site_or_average(options.costs.site, options.costs.sites)
    return Rates(
        num_devices=1,
        device=processor.name,
        usd_per_hour=options.costs.price_per_hour,
        price_how=PRICE_SAID
        if options.costs.price_per_hour is not None
        else "no price is known for this machine: give price_per_hour in a costs file (--costs), or name devices: "
        "--hardware 8xH100",
        watts=options.costs.watts or processor.watts,
        watts_deviation=0.0 if options.costs.watts else processor.watts_deviation,
        pue=pue,
        kg_co2_per_kwh=site.kg_co2_per_kwh,
        energy_how=f"{options.costs.watts or processor.watts:g} W, {power_how}",
    )
