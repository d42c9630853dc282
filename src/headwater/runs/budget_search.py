"""A budget as a choice of runs, on devices of a table, the GPU at hand or the processor. No torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from headwater.errors import ConfigError
from headwater.forecast.budget import Budget, parse_amount, parse_budget, parse_hardware
from headwater.forecast.candidate import sizes
from headwater.forecast.cluster import Cluster
from headwater.forecast.device import KINDS, Device, find_price, read_devices, read_prices
from headwater.forecast.efficiency import shipped_constants
from headwater.forecast.energy import AVERAGE, site_or_average
from headwater.forecast.result import Spread
from headwater.forecast.search import FINAL_SHARE, FINAL_SHARE_SOURCE, BudgetPlan, Machine, Query, Rates, search
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.runs.budget_processor import Processor, processor_at_hand
from headwater.runs.costs import Costs
from headwater.runs.ladder_design import scaled_shapes
from headwater.runs.ladder_record import ladder_table
from headwater.runs.plan_loss import schedule_effect
from headwater.runs.plan_machine import gpu_to_use
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.search_options import PRECISIONS, SearchOptions, Text, text_of
from headwater.runs.text_size import TOKEN_BYTES_OF_A_BYTE, token_bytes, usual_bytes_per_token
from headwater.scaling import ScalingLaw, read_runs
from headwater.scaling.published import OwnRuns, published_laws
from headwater.scaling.repetition import OWN, USUAL

ON_DEVICES, ON_PROCESSOR = (65_536, 2048), (8192, 256)
"Vocabulary and row where nothing says: nanochat's, and those of first-light's size."
USUAL_RATIO = 20
"Tokens a parameter, as Chinchilla has it (arXiv:2203.15556)."
PRICE_SAID = "price_per_hour of the costs file"


def search_budget(options: SearchOptions) -> BudgetPlan:
    """Return the plan; raise ConfigError or DataError where there can be none."""
    budget = parse_budget(options.budget)
    config = None if options.run is None else load_run(options.run, list(options.overrides))[0]
    text = text_of(options, config)
    machine = machine_of(options, config, text)
    family, vocab_size, seq_len = _model_sizes(options, config, machine.is_processor)
    per_token = options.costs.bytes_per_token or usual_bytes_per_token(vocab_size)
    query = _query(options, budget, machine.rates, text, per_token)
    query.check()
    models = _with_own(list(sizes(family, vocab_size, seq_len)), config)
    runs = options.runs or (ladder_table(config) if config else None)
    at_flops = _usual_flops(models, machine, 3600 * query.final_hours)
    losses = published_laws(at_flops) if runs is None else _own_losses(runs, config)
    plan = search(query, models, machine, losses)
    name = "budget" if config is None else config.name
    return replace(plan, name=name)


def machine_of(options: SearchOptions, config: RunConfig | None, text: Text) -> Machine:
    """Return the devices that were named, else the GPU at hand, else the processor."""
    costs = options.costs
    max_memory = parse_amount("max_memory", costs.max_memory, "bytes") if costs.max_memory else None
    read_prices(costs.price_kind or None, costs.prices)
    dtype = options.sizes().get("dtype", "auto") if config is None else config.machine.dtype
    precision = PRECISIONS.get(dtype, "bf16")
    halved = None if config is None else config.train.half_length_fraction
    if options.hardware:
        num_devices, device = parse_hardware(options.hardware, read_devices(costs.hardware))
        return _on_devices(costs, Cluster(num_devices, device, max_memory, precision, halved), costs.site or AVERAGE)
    gpu = gpu_to_use("auto" if config is None else config.machine.device)
    if gpu is not None:
        return _on_devices(costs, Cluster(1, gpu, max_memory, precision, halved), costs.site)
    for name in ("price_kind", "hardware"):
        if getattr(costs, name):
            raise ConfigError(
                f"{name} of the costs file is for devices of the table, and a processor is planned for: name --hardware"
            )
    processor = processor_at_hand(config, max_memory, _token_bytes(config, text), dtype)
    prepared = 0.0 if text.is_built else costs.bytes_per_token
    return Machine(
        rates=_processor_rates(costs, processor),
        estimated_tokens=processor.estimated_tokens,
        candidate=lambda model, tokens: processor.candidate(
            model, tokens, usual_bytes_per_token(model.vocab_size) if prepared is None else prepared
        ),
        is_processor=True,
    )


def _token_bytes(config: RunConfig | None, text: Text) -> float:
    if text.num_bytes is not None:
        return TOKEN_BYTES_OF_A_BYTE * text.num_bytes
    return 0.0 if config is None else token_bytes(config)


def _on_devices(costs: Costs, cluster: Cluster, site_name: str) -> Machine:
    device, fitted = cluster.device, shipped_constants()
    site, pue, power_how = site_or_average(site_name, costs.sites)
    price, how = _price(costs, device)
    watts = costs.watts or device.watts
    errors = fitted["hours_backtest"]
    rates = Rates(
        num_devices=cluster.num_devices,
        device=device.name,
        usd_per_hour=price.median if price else None,
        price_how=how,
        watts=watts,
        watts_deviation=0.0 if costs.watts else fitted["spread"]["power"],
        pue=pue,
        kg_co2_per_kwh=site.kg_co2_per_kwh,
        energy_how=f"{watts:.0f} W a device, {power_how}",
        hours_how=(
            f"forecasts of {errors['runs']} published whole runs were {errors['median']:.0%} off in the median, "
            f"{errors['p90']:.0%} at P90; four of five lie in P10 to P90. headwater itself "
            "was never timed on such devices"
        ),
        hours_backtest=errors,
        price_deviation=price.log_deviation if price else 0.0,
    )
    return Machine(rates, cluster.estimated_tokens, cluster.candidate)


def _price(costs: Costs, device: Device) -> tuple[Spread | None, str]:
    """Return dollars a device-hour, None where none is known, and which price it is."""
    if costs.price_per_hour is not None:
        return Spread(costs.price_per_hour), PRICE_SAID
    price = find_price(device, costs.price_kind or None, costs.prices, costs.hardware)
    if price is not None:
        lost = "; what preemption takes isn't counted" if price.kind == "spot" else ""
        seen = f"{price.low:g} to {price.high:g} seen"
        return price.spread, f"{price.kind} price of {price.date}, {seen}: {price.source}{lost}"
    named = f"{costs.price_kind} " if costs.price_kind else ""
    others = [kind for kind in KINDS if find_price(device, kind, costs.prices, costs.hardware)]
    there = f"; it has {', '.join(others)}" if others else ""
    return None, (
        f"no {named}price of {device.name} is in the price table{there}: give price_per_hour in a costs file (--costs)"
    )


def _processor_rates(costs: Costs, processor: Processor) -> Rates:
    site, pue, power_how = site_or_average(costs.site, costs.sites)
    no_price = (
        "no price is known for this machine: give price_per_hour in a costs file (--costs), or name devices: "
        "--hardware 8xH100"
    )
    return Rates(
        num_devices=1,
        device=processor.name,
        usd_per_hour=costs.price_per_hour,
        price_how=no_price if costs.price_per_hour is None else PRICE_SAID,
        watts=costs.watts or processor.watts,
        watts_deviation=0.0 if costs.watts else processor.watts_deviation,
        pue=pue,
        kg_co2_per_kwh=site.kg_co2_per_kwh,
        energy_how=f"{costs.watts or processor.watts:g} W, {power_how}",
    )


def _usual_flops(models: list[ModelSettings], machine: Machine, seconds: float) -> float:
    """Return about the compute that a budget buys: that of the size nearest to 20 tokens a parameter."""
    runs = [(count_parameters(model).total, max(1.0, machine.estimated_tokens(model, seconds))) for model in models]
    params, tokens = min(runs, key=lambda run: abs(math.log(run[1] / (USUAL_RATIO * run[0]))))
    return 6 * params * tokens


def _own_losses(runs: Path, config: RunConfig | None) -> OwnRuns:
    """Return the law of a table, with the run's own schedule where the table's runs had another."""
    is_ladders = config is not None and runs == ladder_table(config)
    law = ScalingLaw(read_runs(runs), OWN if is_ladders else USUAL)
    if config is None:
        return OwnRuns(law, runs)
    factor, why = schedule_effect(config, runs)
    return OwnRuns(law, runs, math.log(factor.median), factor.log_deviation, why)


def _with_own(models: list[ModelSettings], config: RunConfig | None) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    own = [] if config is None else scaled_shapes(config.model)
    alike = [each for each in own if _kind(each) == _kind(models[0])]
    return sorted([*models, *alike], key=lambda model: count_parameters(model).total)


def _kind(model: ModelSettings) -> tuple[str, int, int]:
    return model.family, model.vocab_size, model.seq_len


def _model_sizes(options: SearchOptions, config: RunConfig | None, is_processor: bool) -> tuple[Family, int, int]:
    if config is not None:
        return _kind(config.model)  # type: ignore[return-value]
    vocab_size, seq_len = ON_PROCESSOR if is_processor else ON_DEVICES
    given = options.sizes()
    return given.get("family", "qwen3"), given.get("vocab_size", vocab_size), given.get("seq_len", seq_len)


def _query(options: SearchOptions, budget: Budget, rates: Rates, text: Text, per_token: float) -> Query:
    share, share_how = options.costs.final_share, "final_share of the costs file"
    if share is None and budget.usd is not None:
        share, share_how = FINAL_SHARE, FINAL_SHARE_SOURCE
    elif share is None:
        share, share_how = 1.0, "a budget of hours is the run's own"
    unique, how = math.inf, text.how
    if text.num_tokens is not None:
        unique = text.num_tokens
    elif text.num_bytes is not None:
        unique = text.num_bytes / per_token
        source = "the costs file" if options.costs.bytes_per_token else "a rule of thumb"
        how += f", {per_token:.2f} bytes a token ({source})"
    serve = parse_amount("--serve-tokens", options.serve_tokens, "tokens") if options.serve_tokens else None
    return Query(budget, share, rates, unique, how, serve, share_how)
