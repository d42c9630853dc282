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
from headwater.plan.memory import CONTEXT_BYTES, estimate_memory
from headwater.plan.money import cost, find_price, read_prices
from headwater.plan.rows.job import Job
from headwater.plan.rows.known import table_of, without_results
from headwater.plan.score import Z90
from headwater.plan.tables import read_lines
from headwater.plan.time import step_seconds, step_work

GIB = 2**30
"Standard deviations from the median to the 90th percentile of a normal distribution."


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
        line, _ = lines[index]
        try:
            found = estimate(known.read(row, devices, f"line {line}"), site, tables)
        except HeadwaterError as error:
            found = {"error": str(error)}
        estimates.append({"row": index, "line": line, **found})
    return {"table": known.name, "results_not_read": known.results_in(rows[0]), "estimates": estimates}


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
        "recompute": job.layout.recompute,
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
    """Return what an allocator reserves, and whether it fits with the context beside it."""
    memory = estimate_memory(job.shape, job.layout)
    parts = {name: value / GIB for name, value in vars(memory).items()}
    return {
        "memory_gib": band(memory.peak / GIB, fitted["spread"]["memory"]),
        "memory_parts_gib": parts,
        "memory_needed_gib": memory.needed / GIB,
        "device_memory_gib": job.device.memory_bytes / GIB,
        "fits": memory.peak + CONTEXT_BYTES <= job.device.memory_bytes,
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


def pue_of(job: Job, site: Site) -> tuple[float, str]:
    """Return PUE and where it is from: the row, else 1 for a run that is over, whose row then gives its computers'
    energy, else the site.
    """
    if job.pue is not None:
        return job.pue, "row"
    if job.device_hours is not None:
        return 1.0, "reported hours without PUE: energy of the computers alone"
    return site.pue, site.source


def run_fields(job: Job, per_device: float, site: Site, tables: Tables, fitted: dict[str, Any]) -> dict[str, Any]:
    """Return hours, energy, carbon and money of the whole run, or of a billion tokens where the row names no number.

    Hours follow from tokens, never from those that the row reports; energy is that of the reported hours where there
    are any, because those are what was drawn for. Whole runs reach `run_part` of the speed that benchmarks report.
    """
    spread = fitted["spread"]
    good = lasting_part(job.layout.num_devices, Pauses())
    tokens = job.tokens or 1e9
    hours = tokens / per_device / 3600 / good / fitted["constants"]["run_part"]
    watts = mean_watts(job.device, fitted["constants"]["power_part"])
    pue, pue_source = pue_of(job, site)
    kwh, own_kwh = energy_kwh(job.device_hours or hours, watts, pue), energy_kwh(hours, watts, pue)
    deviation = spread["energy"] if job.device_hours else math.hypot(spread["energy"], spread["hours"])
    price = find_price(job.device, tables.price_kind, tables.prices, tables.hardware)
    money = cost(hours, price) if price else None
    return {
        "tokens": tokens,
        "goodput": good,
        "device_hours": band(hours, spread["hours"]),
        "wall_days": band(hours / job.layout.num_devices / 24, spread["hours"]),
        "mean_watts": watts,
        "energy_kwh": band(kwh, deviation),
        "energy_of": "reported hours" if job.device_hours else "estimated hours",
        "energy_kwh_of_estimated_hours": own_kwh,
        "tonnes_co2": band(tonnes_co2(kwh, site.kg_co2_per_kwh), deviation),
        "usd": None if money is None else band(money.run_usd, spread["hours"]),
        "programme_usd": None if money is None else list(money.programme_usd),
        "price": None if price is None else vars(price),
        "sources": {"pue": pue_source, "device": job.device.source},
    }
