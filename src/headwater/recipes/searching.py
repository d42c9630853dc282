"""A budget as a choice of runs, on devices of a table or on the machine at hand. No torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from headwater.errors import ConfigError
from headwater.machine.host import gpu_name
from headwater.model.settings import Family
from headwater.plan.budget import Budget, parse_amount, parse_budget, parse_hardware
from headwater.plan.candidate import Cluster, on_cluster
from headwater.plan.device import Device, read_devices
from headwater.plan.efficiency import shipped_constants
from headwater.plan.energy import find_site, mean_watts
from headwater.plan.forecast_run import check_positive
from headwater.plan.law.own_runs import own_runs
from headwater.plan.law.published import published_laws
from headwater.plan.money import find_price, read_prices
from headwater.plan.search import FINAL_SHARE, Asked, Guess, Make, Rates, search, usual_flops
from headwater.plan.sizes import sizes
from headwater.recipes.planned_device import device_at_hand
from headwater.recipes.planned_time import source_bytes
from headwater.recipes.run_config import RunConfig, load_run
from headwater.recipes.searched_processor import Processor, processor_at_hand
from headwater.recipes.stages import Folders, read_json_or_none
from headwater.tokenizer.settings import MIN_VOCAB_SIZE

PRECISIONS = ("auto", "bf16", "fp8")
ON_DEVICES, ON_PROCESSOR = (65_536, 2048), (8192, 256)
"Vocabulary and row where nothing says: nanochat's, and those of first-light's size."


@dataclass(frozen=True)
class Wishes:
    """What a person gave, as text where it has a unit; None or "" where nothing was said."""

    budget: str
    run: str | None = None
    overrides: tuple[str, ...] = ()
    hardware: str = ""
    text_bytes: str = ""
    bytes_per_token: float | None = None
    serve_tokens: str = ""
    runs: Path | None = None
    final_share: float | None = None
    family: str = ""
    vocab_size: int | None = None
    seq_len: int | None = None
    max_memory: str = ""
    precision: str = "auto"
    price: str = ""
    price_per_hour: float | None = None
    site: str = ""
    hardware_table: Path | None = None
    prices: Path | None = None


@dataclass(frozen=True)
class Place:
    """Where to train: its rates, a first guess of tokens for hours, and candidates of a size."""

    rates: Rates
    guess: Callable[[float], Guess]
    make: Make
    is_processor: bool


@dataclass(frozen=True)
class Text:
    """Bytes or tokens of it, whichever is known, and whether tokens are built already."""

    num_bytes: float | None
    num_tokens: float | None
    how: str

    @property
    def is_built(self) -> bool:
        return self.num_tokens is not None


def search_budget(wishes: Wishes, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints; raise ConfigError or DataError for what can't be answered."""
    started_at = clock()
    _check(wishes)
    budget = parse_budget(wishes.budget)
    config = None if wishes.run is None else load_run(wishes.run, list(wishes.overrides))[0]
    text = _text(wishes, config)
    place = _place(wishes, config, text)
    family, vocab_size, seq_len = _model_sizes(wishes, config, place.is_processor)
    per_token = wishes.bytes_per_token or usual_bytes_per_token(vocab_size)
    asked = _asked(wishes, budget, place.rates, text, per_token)
    asked.check()
    models = list(sizes(family, vocab_size, seq_len))
    guess = place.guess(asked.final_hours * 3600)
    losses = published_laws(usual_flops(models, guess)) if wishes.runs is None else own_runs(wishes.runs)
    result = search(asked, models, guess, place.make, losses)
    name = "budget" if config is None else config.name
    return {"name": name, **result, "seconds": clock() - started_at}


def _check(wishes: Wishes) -> None:
    if wishes.family and wishes.family not in get_args(Family):
        raise ConfigError(f"--family {wishes.family} is none of {', '.join(get_args(Family))}")
    if wishes.precision not in PRECISIONS:
        raise ConfigError(f"--precision {wishes.precision} is none of {', '.join(PRECISIONS)}")
    if wishes.vocab_size is not None and not MIN_VOCAB_SIZE <= wishes.vocab_size <= 1 << 20:
        raise ConfigError(f"--vocab-size {wishes.vocab_size} must be from {MIN_VOCAB_SIZE} to {1 << 20:,}")
    if wishes.seq_len is not None and not 16 <= wishes.seq_len <= 1 << 20:
        raise ConfigError(f"--seq-len {wishes.seq_len} must be from 16 to {1 << 20:,}")
    for name in ("bytes_per_token", "price_per_hour"):
        check_positive(f"--{name.replace('_', '-')}", getattr(wishes, name))


def _text(wishes: Wishes, config: RunConfig | None) -> Text:
    """Return how much text there is: as said, else the run's built tokens, else its files; raise where there is none."""
    if wishes.text_bytes:
        given = parse_amount("--text-bytes", wishes.text_bytes, "bytes")
        return Text(given, None, f"--text-bytes {wishes.text_bytes}")
    if config is None:
        return Text(None, None, "not said")
    manifest = read_json_or_none(Folders(config.run_dir).tokens / "manifest.json")
    try:
        built = sum(int(source["num_tokens"]) for source in manifest["splits"]["train"].values())
        return Text(None, float(built), f"{built:,} tokens built for {config.name}")
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    found = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    known = [size for size in found.values() if size is not None]
    if not known:
        raise ConfigError(
            f"how much text {config.name} has isn't known: none of its sources {', '.join(found)} is found here; give "
            "--text-bytes, or mend the paths"
        )
    left_out = [name for name, size in found.items() if size is None]
    rest = f"; nothing counted for {', '.join(left_out)}" if left_out else ""
    return Text(sum(known), None, f"{sum(known) / 1e6:.3g} MB in the sources of {config.name}{rest}")


def _model_sizes(wishes: Wishes, config: RunConfig | None, is_processor: bool) -> tuple[Family, int, int]:
    vocab_size, seq_len = ON_PROCESSOR if is_processor else ON_DEVICES
    family: Family = "qwen3"
    if config is not None:
        family, vocab_size, seq_len = config.model.family, config.model.vocab_size, config.model.seq_len
    if wishes.family:
        family = wishes.family  # type: ignore[assignment]
    return family, wishes.vocab_size or vocab_size, wishes.seq_len or seq_len


def usual_bytes_per_token(vocab_size: int) -> float:
    """Return what byte-level BPE reaches on mixed text, about: 3.5 at 8,192 ids, a third more for each doubling.

    3.5 is `recipes.new`'s; 4.5 at 65,536 is below the 4.8 that nanochat reports on web text alone. A rule of thumb.
    """
    return min(5.0, max(1.5, 3.5 + (math.log2(vocab_size) - 13) / 3))


def _asked(wishes: Wishes, budget: Budget, rates: Rates, text: Text, per_token: float) -> Asked:
    share = wishes.final_share
    if share is None:
        share = FINAL_SHARE if budget.usd is not None else 1.0
    unique = math.inf
    how = text.how
    if text.num_tokens is not None:
        unique = text.num_tokens
    elif text.num_bytes is not None:
        unique = text.num_bytes / per_token
        source = "--bytes-per-token" if wishes.bytes_per_token else "a rule of thumb"
        how += f", {per_token:.2f} bytes a token ({source})"
    serve = parse_amount("--serve-tokens", wishes.serve_tokens, "tokens") if wishes.serve_tokens else None
    return Asked(budget, share, rates, unique, how, serve)


def _place(wishes: Wishes, config: RunConfig | None, text: Text) -> Place:
    """Return the devices that were named, else the GPU at hand, else the processor."""
    max_memory = parse_amount("--max-memory", wishes.max_memory, "bytes") if wishes.max_memory else None
    read_prices(wishes.price or None, wishes.prices)
    if wishes.hardware:
        num_devices, device = parse_hardware(wishes.hardware, read_devices(wishes.hardware_table))
        return _on_devices(wishes, num_devices, device, max_memory, site=wishes.site or "average")
    name = gpu_name()
    wanted = "auto" if config is None else config.machine.device
    if wanted == "cuda" or (wanted == "auto" and name is not None):
        return _on_devices(wishes, 1, device_at_hand(name), max_memory, site=wishes.site)
    if wishes.precision == "fp8":
        raise ConfigError("--precision fp8 is for GPUs, and none is found here: name --hardware")
    processor = processor_at_hand(config, max_memory)
    prepare = 0.0 if text.is_built else wishes.bytes_per_token
    return Place(
        rates=_processor_rates(wishes, processor),
        guess=lambda seconds: lambda model: processor.guessed_tokens(model, seconds),
        make=lambda model, tokens: processor.looked(
            model, tokens, usual_bytes_per_token(model.vocab_size) if prepare is None else prepare
        ),
        is_processor=True,
    )


def _on_devices(wishes: Wishes, num_devices: int, device: Device, max_memory: float | None, site: str) -> Place:
    cluster = Cluster(num_devices, device, max_memory, wishes.precision)
    fitted = shipped_constants()
    pue = find_site(site).pue if site else 1.0
    usd, how = _price(wishes, device)
    watts = mean_watts(device, fitted["constants"]["power_part"])
    energy_how = f"{watts:.0f} W a device, " + (f"PUE {pue} of the site {site}" if site else "nothing for cooling")
    rates = Rates(num_devices, device.name, usd, how, watts, fitted["spread"]["energy"], pue, energy_how)
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
        kind = f"{wishes.price} " if wishes.price else ""
        others = [
            found.kind for found in (find_price(device, kind) for kind in ("reserved", "on_demand", "spot")) if found
        ]
        there = f"; it has {', '.join(others)}" if others else ""
        return None, (
            f"no {kind}price of {device.name} is in the price table{there}: give --price-per-hour, dollars a device-hour"
        )
    return (
        price.usd_per_hour,
        f"{price.kind} price of {price.date}, {price.low:g} to {price.high:g} seen: {price.source}",
    )


def _processor_rates(wishes: Wishes, processor: Processor) -> Rates:
    site = find_site(wishes.site) if wishes.site else None
    return Rates(
        num_devices=1,
        device=processor.name,
        usd_per_hour=wishes.price_per_hour,
        price_how="--price-per-hour"
        if wishes.price_per_hour is not None
        else "no price is known for this machine: give --price-per-hour, or name devices: --hardware 8xH100",
        watts=processor.watts,
        watts_deviation=processor.watts_deviation,
        pue=site.pue if site else 1.0,
        energy_how=f"{processor.watts:g} W" + (f", PUE of {site.name}" if site else ", nothing for cooling"),
    )
