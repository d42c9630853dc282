"""The run of the least loss that an amount of time or money buys: every size, trained as its plan has it. No torch.

Each size gets the batch of the rule, a layout and microbatch in which it fits, the time of a step by `hardware`, and as
many tokens as budget and text give; a law says which of these runs ends lowest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import ConfigError
from headwater.core.numbers import size
from headwater.machine.parallel.settings import meshes_of
from headwater.machine.ranks.mesh import Layout, Mesh, Place
from headwater.model.count import count_parameters
from headwater.plan.forecast.device import WITHOUT_BF16, Accelerator
from headwater.plan.forecast.result import DeviceGroup, Spread
from headwater.plan.hardware import Costs, Gpus, Hardware, gpu_to_use, hardware_of
from headwater.plan.loss_outlook import law_of
from headwater.plan.rungs import ladder_runs
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.published import NATS, OwnRuns, PublishedLaw
from headwater.plan.scaling.table import (
    MAX_EPOCHS,
    MEASURED_EPOCHS,
    MEASURED_RATIO,
    MIN_RUN_STEPS,
    NAME,
    OWN,
    most_epochs,
    says_of,
)
from headwater.plan.sizes import CandidateSize, fastest, models_of
from headwater.plan.text_size import tokens_of, usual_bytes_per_token
from headwater.plan.times import around_steps
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.paths import of_split
from headwater.runfile.run_config import RunConfig, config_of_text
from headwater.train.checkpoint.layout import require_from_training

MAX_HOURS = 87_660
"Ten years: beyond it a plan is arithmetic. Machines are replaced sooner, and published runs took months."
NO_RUN = """
corpus.sources.text.paths = ["text"]
model.num_layers = 8
train.num_steps = 1000
"""
ON_DEVICES = ["tokenizer.vocab_size=65536", "model.seq_len=2048"]
ON_PROCESSOR = ["tokenizer.vocab_size=8192", "model.seq_len=256"]
"Where nothing says: nanochat's, and those of first-light's size."
TOO_SHORT = "too few steps"
NUM_LENGTHS = 512

Losses = PublishedLaw | OwnRuns


@dataclass(frozen=True)
class Budget:
    """What may be spent: US dollars or hours, the other None. `text` is how it was written."""

    text: str
    usd: float | None = None
    hours: float | None = None

    def hours_on(self, devices: DeviceGroup) -> float:
        """Return how long it lasts on these devices; raise ConfigError where that isn't known, or longer than plans."""
        price = devices.usd(1.0)
        if self.hours is None and price is None:
            raise ConfigError(f"a budget of money needs a price: {devices.price_how}")
        hours = self.hours or (self.usd or 0.0) / (price or math.inf)
        if hours > MAX_HOURS:
            raise ConfigError(
                f"the budget {self.text} is {hours:,.0f} h on {devices.num_devices} × {devices.device}: take more "
                f"hardware or a smaller budget, of at most {MAX_HOURS:,} h"
            )
        return hours


@dataclass(frozen=True)
class SearchOptions:
    """What was given, None where it wasn't; `place` is the first of the ranks, on `device` each.

    `config` is `searched_config` of the run and the overrides.
    """

    budget: Budget
    config: RunConfig
    place: Place
    run: str | None = None
    overrides: tuple[str, ...] = ()
    device: Accelerator | None = None
    text_bytes: float | None = None
    runs: Path | None = None
    loss_unit: str = "bits_per_byte"
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True)
class Offer:
    """A size with the tokens of its least loss in the budget; `refused` says why it can't be chosen."""

    candidate: CandidateSize
    tokens: float = 0.0
    log_loss: float = math.inf
    refused: str | None = None


def searched_config(run: str | None, overrides: Sequence[str], is_on_devices: bool) -> RunConfig:
    """Return the run's settings; without a run those of a usual one, with the settings that were given."""
    if run is not None:
        config, _ = load_with_kept(run, list(overrides))
        require_from_training(config.run_dir)
        return config
    usual = ON_DEVICES if is_on_devices or gpu_to_use("auto") else ON_PROCESSOR
    return config_of_text(NO_RUN, [*usual, *overrides])


def search_budget(options: SearchOptions) -> dict[str, Any]:
    """Return the plan of a budget as `plan --budget --json` prints it, but for the commands that follow it.

    `choice` is the run of the least expected loss. Raises ConfigError or DataError where there can be none.
    """
    config, here, budget = options.config, _hardware(options), options.budget
    devices, (unique, text_how) = options.costs.applied(here.devices), _text_of(options)
    hours = budget.hours_on(devices)
    law = law_of(options.runs) if options.runs else None
    if law is None and options.run and (rungs := ladder_runs(config)) is not None:
        law = ScalingLaw(rungs, OWN)
    losses = PublishedLaw() if law is None else OwnRuns(law, options.runs or config.folders.ladder)
    models, candidates = models_of(config, is_run=options.run is not None), list[CandidateSize]()
    # of steps that take a second a token, so that all but the start and the saves is in tokens
    around = {name: part.median for name, part in around_steps(config, float(config.train.batch_tokens)).items()}
    for model in models:
        most_tokens = losses.most_epochs(count_parameters(model).total, unique) * unique
        if (found := fastest(config, options.place, here, model, most_tokens, 3600 * hours, around)) is not None:
            candidates.append(found)
    if not candidates:
        raise ConfigError(
            f"no size fits: {count_parameters(models[0]).total:,} parameters (the smallest) need more memory, or a "
            f"larger batch, than {devices.num_devices} × {devices.device} allow; take other or more "
            "devices, or lower tokenizer.vocab_size or model.seq_len"
        )
    offers = [offer_of(each, 3600 * hours, unique, losses) for each in candidates]
    refusals = [str(each.refused) for each in offers if each.refused not in (None, TOO_SHORT)]
    best = min(offers, key=lambda each: each.log_loss)
    each, tokens = best.candidate, best.tokens
    if best.refused:
        place = f"{budget.text} is {hours:.3g} h on {devices.num_devices} × {devices.device}"
        raise ConfigError(_nothing_trains(place, unique, candidates[0], refusals))
    choice, losses_how = _choice(best, losses, devices, unique), losses.how(each.size, tokens)
    price, epochs = devices.usd_per_hour, choice["epochs"]
    notes = [f"{epochs:.1f} epochs of the text: more text would bring more"] if epochs > 1 else []
    if refusals:
        notes.append(f"{len(refusals)} sizes are excluded: of them the runs at hand say nothing: {refusals[0]}")
    if best is offers[-1]:
        is_last = each.model == models[-1]
        larger = "no larger model is searched: one" if is_last else "no larger model fits: with more memory one"
        notes.append(f"{larger} might be better")
    return {
        "name": "budget" if options.run is None else config.name,
        "budget": asdict(devices)
        | {"text": budget.text, "hours": hours, "usd": devices.usd(hours), "energy_how": devices.energy_how}
        | {"usd_per_device_hour": price and price.median},
        "text": {"unique_tokens": None if math.isinf(unique) else unique, "how": text_how},
        "choice": choice,
        "loss": {"unit": NATS if law is None else options.loss_unit, "how": losses_how},
        "searched": {"sizes": len(models), "sizes_that_fit": len(candidates)},
        "notes": notes + _notes_of_epochs(each.size.total, epochs, unique, losses_how),
    }


def _choice(best: Offer, losses: Losses, devices: DeviceGroup, unique: float) -> dict[str, Any]:
    """Return a run and what it takes; its loss is None where no law reaches, the money where no price is known.

    `repetition_costs` is by which part a text too short for the run raises the loss. Memory is of one device.
    """
    each, tokens = best.candidate, best.tokens
    fresh, num_steps = float(losses.log_loss(each.size, np.array(tokens))), round(tokens / each.batch_tokens)
    loss, epochs = losses.expected(each.size, tokens, unique), max(1.0, tokens / unique)
    return {
        "params": each.size.total,
        "shape": each.model.model_dump(mode="json"),
        "settings": each.settings | {"train.num_steps": num_steps},
        "tokens": tokens,
        "epochs": epochs,
        "repetition_costs": math.expm1(float(losses.log_loss(each.size, np.array(tokens), unique)) - fresh),
        "tokens_per_parameter": tokens / each.size.total,
        "num_steps": num_steps,
        "loss": loss and asdict(Spread(*loss).band()),
        **{
            name: band and asdict(band)
            for name, band in devices.bands(Spread(each.seconds(tokens) / 3600, each.hours_deviation)).items()
        },
        "memory_gb": asdict(each.memory.scaled(1e-9).band()),
        "memory_limit_gb": devices.memory_limit / 1e9,
        "layout": each.layout,
        "num_microbatches": each.num_microbatches,
        "tokens_per_second": 1 / each.seconds_per_token,
    }


def _notes_of_epochs(params: int, epochs: float, unique: float, losses_how: str) -> list[str]:
    """Return what a reader of the choice must know of text that is read again."""
    found, density = list[str](), params / unique
    if epochs > 1 and NAME in losses_how:
        useful = says_of(most_epochs(params, unique))
        found.append(f"text read again is counted by {NAME}, its cost uncertain by half: {useful}")
    if epochs > 1 and (density > MEASURED_RATIO or epochs > MEASURED_EPOCHS):
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here: up to {density:.2g} and {epochs:.1f}"
        )
    return found


def offer_of(candidate: CandidateSize, seconds: float, unique: float, losses: Losses) -> Offer:
    """Return a size with its best tokens: whole steps, by the time and the text as often as helps, or makes a run."""
    batch, count = candidate.batch_tokens, candidate.size
    useful = losses.most_epochs(float(count.total), unique) * unique
    allowed = max(0.0, (seconds - candidate.around_seconds) / candidate.seconds_per_token)
    most_steps = math.floor(min(allowed, max(useful, MIN_RUN_STEPS * batch), MAX_EPOCHS * unique) / batch)
    if most_steps < MIN_RUN_STEPS:
        return Offer(candidate, refused=TOO_SHORT)
    lengths = np.round(np.geomspace(MIN_RUN_STEPS, most_steps, NUM_LENGTHS)) * batch
    logs = losses.log_loss(count, lengths, unique)
    tokens, log_loss = float(lengths[logs.argmin()]), float(logs.min())
    why = losses.refusal(count, tokens)
    return Offer(candidate, tokens, math.inf if why else log_loss, why)


def _hardware(options: SearchOptions) -> Hardware:
    """Return the devices that were named, else the GPU at hand, else the processor.

    Raises LayoutError where the ranks don't fill the layout of the settings, which no size mends.
    """
    num_ranks, num_local = options.place.world_size, options.place.local_world_size
    meshes_of(options.config.parallel, num_ranks, num_local)
    here = hardware_of(options.config, ranks=Layout(Mesh(replicate=num_ranks), num_local), device=options.device)
    if isinstance(here, Gpus) and here.device.architecture in WITHOUT_BF16:
        raise ConfigError(
            f"{here.device.name} multiplies no bf16, and headwater trains in nothing narrower than float32 there: "
            "name another device"
        )
    return here


def _text_of(options: SearchOptions) -> tuple[float, str]:
    """Return how many different tokens of text there are, infinite where nothing says, and how that is known."""
    config, bytes_per_token = options.config, usual_bytes_per_token(options.config.model.vocab_size)
    by_rule = f", {bytes_per_token:.2f} bytes a token (a rule of thumb)"
    if options.text_bytes:
        return options.text_bytes / bytes_per_token, f"{size(options.text_bytes)} given{by_rule}"
    if options.run is None:
        return math.inf, "not given"
    found, sources, share = tokens_of(config, "train"), config.corpus.sources, config.mixture.share_of_text
    if not any(found.values()):
        raise ConfigError(
            f"how much text {config.name} has isn't known: none of its sources {', '.join(sources)} is found here; "
            "give --text-bytes, or mend the paths"
        )
    num_tokens, missing = sum(found.values()), [name for name in sources if name not in found]
    if found == of_split(config.run_dir, "train"):
        how = f"{num_tokens:,} tokens built"
    elif all(sources[name].num_tokens for name in found):
        how = f"num_tokens of the sources of {config.name}, an estimate"
    else:
        how = f"the sources of {config.name} as they lie here{by_rule}"
    how += f"; nothing counted for {', '.join(missing)}" if missing else ""
    how += "" if share == 1 else f"; {share:.0%} of it are read (mixture.share_of_text)"
    return share * num_tokens, how


def _nothing_trains(place: str, unique: float, smallest: CandidateSize, refusals: Sequence[str]) -> str:
    if refusals:
        return (
            "the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{refusals[0]}; or drop --runs and RUN to use published laws"
        )
    least = MIN_RUN_STEPS * smallest.batch_tokens
    if MAX_EPOCHS * unique < least:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {MAX_EPOCHS * unique:,.0f} tokens, less "
            f"than {MIN_RUN_STEPS} steps of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = smallest.seconds(least) / 3600
    return f"the budget {place}; {MIN_RUN_STEPS} steps of the smallest model take {needs:.3g} h: raise the budget"
