"""One job's cost, each quantity with P10, P50 and P90. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError, HeadwaterError
from headwater.plan.count import count_flops, count_params
from headwater.plan.device import read_devices
from headwater.plan.efficiency import Efficiency, shipped_constants
from headwater.plan.energy import Site, energy_kwh, find_site, mean_watts, tonnes_co2
from headwater.plan.failures import Pauses, goodput, mean_seconds_between_failures
from headwater.plan.layout import recompute_in_words
from headwater.plan.memory import CONTEXT_BYTES, estimate_memory
from headwater.plan.money import cost, find_price, read_prices
from headwater.plan.rows.job import Job
from headwater.plan.rows.known import table_of, without_results
from headwater.plan.score import Z90
from headwater.plan.tables import read_lines
from headwater.plan.time import step_seconds, step_work

GIB = 2**30
OF_REPORTED_HOURS = "energy_kwh_of_reported_hours"


@dataclass(frozen=True)
class Tables:
    """Tables of the user, each None for the one that ships."""

    hardware: Path | None = None
    prices: Path | None = None
    sites: Path | None = None
    site: str = "average"
    price_kind: str | None = None


def band(median: float, log_deviation: float) -> dict[str, float]:
    """Return P10, P50 and P90 of a log-normal error around the median."""
    return {
        "p10": median * math.exp(-Z90 * log_deviation),
        "p50": median,
        "p90": median * math.exp(Z90 * log_deviation),
    }


def estimate_file(path: Path, tables: Tables) -> dict[str, Any]:
    """Return an estimate of every row of a CSV file; a row that can't be estimated says why under "error".

    Raises DataError when the file is no table of a known kind, and ConfigError or DataError when a table of the user
    can't be used: what would be wrong with every row is said once.
    """
    read_prices(tables.price_kind, tables.prices)
    lines = read_lines(path)
    rows = [row for _, row in lines]
    known = table_of(list(rows[0]))
    devices, site = read_devices(tables.hardware), find_site(tables.site, tables.sites)
    estimates = []
    for index, row in enumerate(without_results(rows, known)):
        line, reported = lines[index]
        try:
            job = known.read(row, devices, f"line {line}")
            found = estimate(job, site, tables)
            if known.reported_hours:
                found |= drawn_fields(job, known.hours_of(reported, f"line {line}"))
        except HeadwaterError as error:
            found = {"error": str(error)}
        estimates.append({"row": index, "line": line, **found})
    hours = known.reported_hours
    return {
        "table": known.name,
        "results_not_read": [name for name in known.results_in(rows[0]) if name != hours],
        "results_read": {hours: f"for {OF_REPORTED_HOURS} alone"} if hours else {},
        "estimates": estimates,
    }


def estimate(job: Job, site: Site, tables: Tables, constants: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return time, memory, energy and money of a job; raise ConfigError when its layout can't be."""
    fitted = constants or shipped_constants()
    spread = fitted["spread"]
    seconds = step_seconds(step_work(job.shape, job.layout, job.device), Efficiency(fitted["constants"]))
    tokens_of_step = job.layout.batch_rows * job.shape.seq_len
    per_device = tokens_of_step / seconds / job.layout.num_devices
    fields = {
        "name": job.name,
        "device": job.device.name,
        "num_devices": job.layout.num_devices,
        "params": count_params(job.shape).total,
        "active_params": count_params(job.shape).active,
        "recompute": recompute_in_words(job.layout),
        "recomputed_layers": job.layout.recomputed_layers if job.layout.recompute != "none" else 0.0,
        "assumed": list(job.assumed),
        "step_seconds": band(seconds, spread["time"]),
        "tokens_per_second": band(per_device * job.layout.num_devices, spread["time"]),
        "tokens_per_second_per_device": band(per_device, spread["time"]),
        "tflops_per_device": rates(job, per_device),
        **memory_fields(job, fitted),
    }
    peak = job.device.peak_flops(job.layout.precision.split("-")[0])
    fields["peak_tflops"] = peak / 1e12
    fields["mfu"] = fields["tflops_per_device"]["palm"] * 1e12 / peak
    return fields | run_fields(job, per_device, site, tables, fitted)


def rates(job: Job, tokens_per_second: float) -> dict[str, float]:
    """Return TFLOP/s of one device in each convention (`count.FlopsPerToken`)."""
    layout = job.layout
    flops = count_flops(job.shape, layout.recompute, layout.software.is_flash, layout.recomputed_layers)
    return {name: value * tokens_per_second / 1e12 for name, value in vars(flops).items()}


def memory_fields(job: Job, fitted: dict[str, Any]) -> dict[str, Any]:
    """Return what an allocator reserves, and whether it fits with the context beside it.

    `fits` is None where it doesn't as a rule filled in what the row leaves out: it may have run otherwise.
    """
    memory = estimate_memory(job.shape, job.layout)
    fits = memory.peak + CONTEXT_BYTES <= job.device.memory_bytes
    unknown = not fits and job.assumed
    parts = {name: value / GIB for name, value in vars(memory).items()}
    return {
        "memory_gib": band(memory.peak / GIB, fitted["spread"]["memory"]),
        "memory_parts_gib": parts,
        "memory_needed_gib": memory.needed / GIB,
        "device_memory_gib": job.device.memory_bytes / GIB,
        "fits": None if unknown else fits,
        "fits_unknown": f"not as assumed, and the row doesn't say: {'; '.join(job.assumed)}" if unknown else None,
    }


def lasting_part(num_devices: int, pauses: Pauses) -> float:
    """Return the goodput of a run that ends; raise ConfigError for one that doesn't."""
    good = goodput(num_devices, pauses)
    if good == 0:
        minutes = mean_seconds_between_failures(num_devices) / 60
        raise ConfigError(
            f"failures come faster than restarts at {num_devices:,} devices; one fails every {minutes:.2g} minutes and "
            f"a restart takes {pauses.restart_seconds / 60:.0f}, so the run would never end: take fewer devices"
        )
    return good


def drawn_fields(job: Job, reported_hours: float | None) -> dict[str, Any]:
    """Return the energy drawn during the device-hours that a row reports: of its computers where it has no PUE.

    It holds the power model alone against a run that is over; nothing else is estimated from those hours.
    """
    if reported_hours is None:
        return {OF_REPORTED_HOURS: None}
    fitted = shipped_constants()
    watts = mean_watts(job.device, fitted["constants"]["power_part"])
    return {OF_REPORTED_HOURS: band(energy_kwh(reported_hours, watts, job.pue or 1.0), fitted["spread"]["power"])}


def run_fields(job: Job, per_device: float, site: Site, tables: Tables, fitted: dict[str, Any]) -> dict[str, Any]:
    """Return hours, energy, carbon and money of the whole run, or of a billion tokens where the row names no number.

    All follow from the same estimated hours. Whole runs reach `run_part` of the speed that benchmarks report.
    """
    spread = fitted["spread"]
    good = lasting_part(job.layout.num_devices, Pauses())
    tokens = job.tokens or 1e9
    hours = tokens / per_device / 3600 / good / fitted["constants"]["run_part"]
    watts = mean_watts(job.device, fitted["constants"]["power_part"])
    pue, pue_source = (site.pue, site.source) if job.pue is None else (job.pue, "row")
    kwh = energy_kwh(hours, watts, pue)
    deviation = math.hypot(spread["power"], spread["hours"])
    price = find_price(job.device, tables.price_kind, tables.prices, tables.hardware)
    money = cost(hours, price) if price else None
    return {
        "tokens": tokens,
        "totals_of": "the whole run" if job.tokens else "a billion tokens: the row has no number",
        "goodput": good,
        "run_part": fitted["constants"]["run_part"],
        "device_hours": band(hours, spread["hours"]),
        "wall_days": band(hours / job.layout.num_devices / 24, spread["hours"]),
        "mean_watts": watts,
        "energy_kwh": band(kwh, deviation),
        "tonnes_co2": band(tonnes_co2(kwh, site.kg_co2_per_kwh), deviation),
        "usd": None if money is None else band(money.run_usd, spread["hours"]),
        "programme_usd": None if money is None else list(money.programme_usd),
        "price": None if price is None else vars(price),
        "sources": {"pue": pue_source, "device": job.device.source},
    }
