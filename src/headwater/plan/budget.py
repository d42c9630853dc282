"""The run of the least loss that an amount of time or money buys: every size, trained as its plan has it. No torch.

Each size gets the batch of the rule, a layout and microbatch in which it fits, the time of a step by `hardware`, and as
many tokens as budget and text give; a law says which of these runs ends lowest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headwater.core.errors import ConfigError
from headwater.core.numbers import size
from headwater.machine.parallel.settings import meshes_of
from headwater.machine.ranks.mesh import Layout, Mesh
from headwater.machine.ranks.place import Place
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.device import WITHOUT_BF16, Accelerator
from headwater.plan.forecast.result import Band, DeviceGroup, Spread
from headwater.plan.hardware import Costs, Gpus, Hardware, gpu_to_use, hardware_of
from headwater.plan.loss_outlook import law_of
from headwater.plan.rungs import ladder_runs
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.published import NATS, OwnRuns, PublishedLaw
from headwater.plan.scaling.repetition import OWN
from headwater.plan.scaling.table import MAX_EPOCHS, MIN_RUN_STEPS
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
class BudgetQuery:
    """Hours of a budget for one run on these devices, and its text of `unique` tokens (infinite: no limit)."""

    name: str
    budget: Budget
    hours: float
    devices: DeviceGroup
    unique: float
    text_how: str


@dataclass(frozen=True)
class Offer:
    """A size with the tokens of its least loss in the budget; `refused` says why it can't be chosen."""

    candidate: CandidateSize
    tokens: float = 0.0
    log_loss: float = math.inf
    refused: str | None = None


@dataclass(frozen=True)
class BudgetChoice:
    """The run of the least expected loss and what it takes, as `plan --budget --json` prints it.

    `repetition_costs` is by which part a text too short for the run raises the loss. The loss is None where no law
    reaches, the money where no price is known. Memory is of one device.
    """

    params: int
    shape: ModelSettings
    settings: dict[str, Any]
    tokens: float
    epochs: float
    repetition_costs: float
    tokens_per_parameter: float
    num_steps: int
    loss: Band | None
    hours: Band
    money: Band | None
    energy_kwh: Band
    kg_co2: Band
    memory_gb: Band
    memory_limit_gb: float
    layout: str
    num_microbatches: int
    tokens_per_second: float


@dataclass(frozen=True)
class BudgetPlan:
    """The choice; why a table of runs refused sizes; how many were searched.

    `largest` says whether the choice is the largest of the sizes that fit, or of all that are searched.
    """

    query: BudgetQuery
    choice: BudgetChoice
    loss_unit: str
    losses_how: str
    refusals: tuple[str, ...]
    largest: Literal["fitting", "searched"] | None
    num_sizes: int
    num_fitting: int


def searched_config(run: str | None, overrides: Sequence[str], is_on_devices: bool) -> RunConfig:
    """Return the run's settings; without a run those of a usual one, with the settings that were given."""
    if run is not None:
        config, _ = load_with_kept(run, list(overrides))
        require_from_training(config.run_dir)
        return config
    usual = ON_DEVICES if is_on_devices or gpu_to_use("auto") else ON_PROCESSOR
    return config_of_text(NO_RUN, [*usual, *overrides])


def search_budget(options: SearchOptions) -> BudgetPlan:
    """Return the plan of a run whose text is prepared; raise ConfigError or DataError where there can be none."""
    config, here = options.config, _hardware(options)
    name, devices = "budget" if options.run is None else config.name, options.costs.applied(here.devices)
    query = BudgetQuery(name, options.budget, options.budget.hours_on(devices), devices, *_text_of(options))
    law = law_of(options.runs) if options.runs else None
    if law is None and options.run and (rungs := ladder_runs(config)) is not None:
        law = ScalingLaw(rungs, OWN)
    losses = PublishedLaw() if law is None else OwnRuns(law, options.runs or config.folders.ladder)
    models, candidates = models_of(config, is_run=options.run is not None), list[CandidateSize]()
    # of steps that take a second a token, so that all but the start and the saves is in tokens
    around = {name: part.median for name, part in around_steps(config, float(config.train.batch_tokens)).items()}
    for model in models:
        most_tokens = losses.most_epochs(count_parameters(model).total, query.unique) * query.unique
        if (found := fastest(config, options.place, here, model, most_tokens, 3600 * query.hours, around)) is not None:
            candidates.append(found)
    if not candidates:
        raise ConfigError(
            f"no size fits: {count_parameters(models[0]).total:,} parameters (the smallest) need more memory, or a "
            f"larger batch, than {query.devices.num_devices} × {query.devices.device} allow; take other or more "
            "devices, or lower tokenizer.vocab_size or model.seq_len"
        )
    offers = [offer_of(each, 3600 * query.hours, query.unique, losses) for each in candidates]
    refusals = [each.refused for each in offers if each.refused not in (None, TOO_SHORT)]
    best = min(offers, key=lambda each: each.log_loss)
    if best.refused:
        raise ConfigError(_nothing_trains(query, candidates[0], refusals))
    largest: Literal["fitting", "searched"] | None = "fitting" if best is offers[-1] else None
    return BudgetPlan(
        query=query,
        choice=_choice(query, best, losses),
        loss_unit=NATS if law is None else options.loss_unit,
        losses_how=losses.how(best.candidate.size, best.tokens),
        refusals=tuple(str(each) for each in refusals),
        largest="searched" if largest and best.candidate.model == models[-1] else largest,
        num_sizes=len(models),
        num_fitting=len(candidates),
    )


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


def _choice(query: BudgetQuery, best: Offer, losses: Losses) -> BudgetChoice:
    each, tokens, devices = best.candidate, best.tokens, query.devices
    num_steps = round(tokens / each.batch_tokens)
    fresh = float(losses.log_loss(each.size, np.array(tokens)))
    rise = float(losses.log_loss(each.size, np.array(tokens), query.unique)) - fresh
    loss = losses.expected(each.size, tokens, query.unique)
    return BudgetChoice(
        params=each.size.total,
        shape=each.model,
        settings=each.settings | {"train.num_steps": num_steps},
        tokens=tokens,
        epochs=max(1.0, tokens / query.unique),
        repetition_costs=math.expm1(rise),
        tokens_per_parameter=tokens / each.size.total,
        num_steps=num_steps,
        loss=loss and Spread(*loss).band(),
        **devices.bands(Spread(each.seconds(tokens) / 3600, each.hours_deviation)),
        memory_gb=each.memory.scaled(1e-9).band(),
        memory_limit_gb=devices.memory_limit / 1e9,
        layout=each.layout,
        num_microbatches=each.num_microbatches,
        tokens_per_second=1 / each.seconds_per_token,
    )


def _nothing_trains(query: BudgetQuery, smallest: CandidateSize, refusals: Sequence[str | None]) -> str:
    if refusals:
        return (
            "the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{refusals[0]}; or drop --runs and RUN to use published laws"
        )
    least = MIN_RUN_STEPS * smallest.batch_tokens
    if MAX_EPOCHS * query.unique < least:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {MAX_EPOCHS * query.unique:,.0f} tokens, less "
            f"than {MIN_RUN_STEPS} steps of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = smallest.seconds(least) / 3600
    return (
        f"the budget {query.budget.text} is {query.hours:.3g} h on {query.devices.num_devices} × "
        f"{query.devices.device}; {MIN_RUN_STEPS} steps of the smallest model take {needs:.3g} h: raise the budget"
    )
