"""A budget as a choice of runs: size, tokens, layout, batch, microbatch, checkpoints, each with what it will cost.

No torch. Who asks brings a way to make candidates: devices of a table here, the machine at hand in `recipes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from headwater.errors import ConfigError
from headwater.model.settings import ModelSettings
from headwater.plan.budget import Budget
from headwater.plan.candidate import Candidate, Looked
from headwater.plan.choices import MIN_STEPS, SERVED_RATE, TOO_SHORT, Choice, Field, Losses, choose
from headwater.plan.count import count_flops, count_params
from headwater.plan.estimate import GIB, band
from headwater.plan.law.repetition import MAX_EPOCHS, worth, worth_of_params
from headwater.plan.money import PROGRAMME_FACTOR
from headwater.plan.shape import shape_of

FINAL_SHARE = 1 / PROGRAMME_FACTOR[0]
FINAL_SHARE_SOURCE = (
    "OLMo 2's development took half of its final run's energy again (arXiv:2503.05804), so that the run is 1 / 1.5 of "
    "the programme; Olmo 3's was 18 %"
)
WINDOW = 0.08
"In log loss by a first guess: sizes further above the best one aren't laid out."
FEW_SIZES = 4
"Sizes that must fit, so that there is something to choose from."
USUAL_RATIO = 20
"Tokens a parameter, as Chinchilla has it (arXiv:2203.15556)."
MIN_TEXT_TOKENS = 1000
LONG_HOURS = 90 * 24

Guess = Callable[[ModelSettings], float]
"Tokens that the time allows, about, before a layout is known."
Make = Callable[[ModelSettings, float], Looked]
"Candidates of a size for a run of about so many tokens."
Quantiles = tuple[float, float, float]


class LossModel(Losses, Protocol):
    """Published laws or own runs."""

    @property
    def unit(self) -> str: ...

    @property
    def members(self) -> Sequence[tuple[str, LossModel]]: ...

    def quantiles(self, params: float, tokens: float, log_factor: float = 0.0) -> Quantiles | None: ...

    def how(self, params: float, tokens: float) -> str: ...


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine costs: dollars and watts a device, None where no price is known."""

    num_devices: int
    device: str
    usd_per_hour: float | None
    price_how: str
    watts: float
    watts_deviation: float
    pue: float
    energy_how: str


@dataclass(frozen=True)
class Asked:
    """A budget for text of `unique` tokens (infinite: no limit); `final_share` of it is the final run's."""

    budget: Budget
    final_share: float
    rates: Rates
    unique: float
    text_how: str
    serve_tokens: float | None = None
    share_how: str = ""

    def check(self) -> None:
        """Raise ConfigError for what no search can answer."""
        if not 0 < self.final_share <= 1:
            raise ConfigError(f"--final-share {self.final_share:g} must be above 0 and at most 1")
        if self.unique < MIN_TEXT_TOKENS:
            raise ConfigError(
                f"the text is too small: about {self.unique:.0f} tokens; at least {MIN_TEXT_TOKENS:,} are needed, "
                "and a million make sense: give more text"
            )
        if self.budget.usd is not None and self.rates.usd_per_hour is None:
            raise ConfigError(f"a budget of money needs a price: {self.rates.price_how}")

    @property
    def final_hours(self) -> float:
        """Hours of the final run."""
        if self.budget.hours is not None:
            return self.budget.hours * self.final_share
        assert self.budget.usd is not None
        assert self.rates.usd_per_hour is not None
        return self.budget.usd * self.final_share / (self.rates.usd_per_hour * self.rates.num_devices)


def usual_flops(models: list[ModelSettings], guess: Guess) -> float:
    """Return about the compute that a budget buys: that of the size nearest to 20 tokens a parameter."""
    shapes = [(shape_of(model), guess(model)) for model in models]
    runs = [(count_flops(shape).causal, count_params(shape).total, tokens) for shape, tokens in shapes]
    flops, _, tokens = min(runs, key=lambda run: abs(math.log(max(run[2], 1.0) / (USUAL_RATIO * run[1]))))
    return flops * max(tokens, 1.0)


def search(asked: Asked, models: list[ModelSettings], guess: Guess, make: Make, losses: LossModel) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints, without the time it took."""
    asked.check()
    kept = _near_the_best(asked, models, guess, losses)
    looked = _laid_out(kept, make)
    candidates = tuple(each for found in looked for each in found.candidates)
    if not candidates:
        raise ConfigError(_nothing_fits(asked, kept[0].model))
    field = Field(candidates, asked.final_hours * 3600, asked.unique, losses)
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(asked, field))
    choices, served = choose(field, asked.serve_tokens)
    first = choices[0]
    fresh = float(worth(np.array([first.tokens]), asked.unique)[0])
    return {
        "budget": _budget_fields(asked),
        "text": {"unique_tokens": None if math.isinf(asked.unique) else asked.unique, "how": asked.text_how},
        "serving": {
            "tokens": served,
            "how": ("as many as the compute-optimal run trains on" if asked.serve_tokens is None else "--serve-tokens")
            + f"; at {SERVED_RATE:.0%} of training's FLOP/s, assumed",
        },
        "choices": [_choice_fields(asked, choice, field, losses, served) for choice in choices],
        "loss": {"unit": losses.unit, "how": losses.how(field.size(first.candidate), fresh)},
        "by_law": _by_law(field, losses),
        "frontier": _frontier(field),
        "searched": {
            "sizes": len(models),
            "sizes_laid_out": len(looked),
            "layouts": sum(found.num_layouts for found in looked),
            "layouts_estimated": sum(found.num_estimated for found in looked),
        },
        "notes": [*_notes(asked, field, choices), *_too_large(kept, candidates)],
    }


@dataclass(frozen=True)
class Guessed:
    """A size, the tokens it might see, and its log loss then; infinite where no law says anything."""

    model: ModelSettings
    tokens: float
    log_loss: float


def _near_the_best(asked: Asked, models: list[ModelSettings], guess: Guess, losses: LossModel) -> list[Guessed]:
    """Return sizes up to the last whose loss isn't hopeless by a first guess, smallest first."""
    tokens = np.array([max(1.0, min(MAX_EPOCHS * asked.unique, guess(model))) for model in models])
    counts = [count_params(shape_of(model)) for model in models]
    params = np.array([float(each.total if losses.counts_embedding else each.matmul) for each in counts])
    worths = worth(tokens, asked.unique)
    params = params if losses.counts_idle_params else worth_of_params(params, asked.unique)
    logs = losses.log_loss(params, worths)
    refused = [losses.refusal(size, seen) is not None for size, seen in zip(params, worths, strict=True)]
    # tokens of a tenth of the parameters are beyond any law
    logs = np.where((tokens < 0.1 * params) | (np.array(refused) & (not all(refused))), np.inf, logs)
    sizes = [Guessed(*each) for each in zip(models, tokens.tolist(), logs.tolist(), strict=True)]
    last = max((place for place, each in enumerate(sizes) if each.log_loss <= logs.min() + WINDOW), default=0)
    return sizes[: last + 1] if math.isfinite(logs.min()) else sizes[:1]


def _laid_out(kept: list[Guessed], make: Make) -> list[Looked]:
    """Return candidates of the sizes near the best; where few of those fit, of smaller ones until a few do."""
    least = min(each.log_loss for each in kept)
    looked: list[Looked] = []
    for each in reversed(kept):
        is_near = each.log_loss <= least + WINDOW or math.isinf(least)
        if is_near or sum(bool(found.candidates) for found in looked) < FEW_SIZES:
            looked.insert(0, make(each.model, each.tokens))
    return looked


def _too_large(kept: list[Guessed], candidates: tuple[Candidate, ...]) -> list[str]:
    """Return a note where the best size by the first guess is larger than all that fit."""
    best = count_params(shape_of(min(kept, key=lambda each: each.log_loss).model)).total
    if best <= max(each.params for each in candidates):
        return []
    return [f"about {best:.2g} parameters would be worth the budget and fit in no layout: more memory would help"]


def _nothing_fits(asked: Asked, smallest: ModelSettings) -> str:
    params = count_params(shape_of(smallest)).total
    rates = asked.rates
    return (
        f"no size fits: {params:,} parameters (the smallest) need more memory, or a "
        f"larger batch, than {rates.num_devices} × {rates.device} allow in any layout; take other or more devices, "
        "raise --max-memory, or lower --vocab-size or --seq-len"
    )


def _nothing_trains(asked: Asked, field: Field) -> str:
    refusals = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refusals:
        return (
            f"the table of --runs can't carry a forecast for any size of this budget: {refusals[0]}; or leave --runs "
            "out, for published laws"
        )
    cap = MAX_EPOCHS * asked.unique
    smallest = field.candidates[0]
    if cap < MIN_STEPS * smallest.batch_tokens:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {cap:,.0f} tokens, less than {MIN_STEPS} steps "
            f"of {smallest.batch_tokens:,}; give more text or a smaller --seq-len"
        )
    needs = smallest.seconds(float(MIN_STEPS) * smallest.batch_tokens, asked.unique)
    return (
        f"the budget {asked.budget.text} is {_span(asked.final_hours * 3600)} of the final run on "
        f"{asked.rates.num_devices} × {asked.rates.device}; {MIN_STEPS} steps of the smallest model take "
        f"{_span(needs)}: raise the budget"
    )


def _span(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 3600:.3g} h"


def _budget_fields(asked: Asked) -> dict[str, Any]:
    rates, hours = asked.rates, asked.final_hours
    programme = hours / asked.final_share
    usd = None if rates.usd_per_hour is None else programme * rates.num_devices * rates.usd_per_hour
    return {
        "text": asked.budget.text,
        "num_devices": rates.num_devices,
        "device": rates.device,
        "usd_per_device_hour": rates.usd_per_hour,
        "price_how": rates.price_how,
        "energy_how": rates.energy_how,
        "final_share": asked.final_share,
        "final_share_how": asked.share_how,
        "programme": {"hours": programme, "usd": usd},
        "final_run": {"hours": hours, "usd": None if usd is None else usd * asked.final_share},
        "ladder_and_failures": {
            "hours": programme - hours,
            "usd": None if usd is None else usd * (1 - asked.final_share),
        },
    }


def _choice_fields(asked: Asked, choice: Choice, field: Field, losses: LossModel, served: float) -> dict[str, Any]:
    each, rates = choice.candidate, asked.rates
    epochs = max(1.0, choice.tokens / asked.unique)
    fresh = float(worth(np.array([choice.tokens]), asked.unique)[0])
    size = field.size(each)
    loss = losses.quantiles(size, fresh, each.log_penalty)
    hours = each.seconds(choice.tokens, asked.unique) / 3600
    device_hours = band(hours * rates.num_devices, each.hours_deviation)
    usd = rates.usd_per_hour
    serving_hours = served * choice.cost[2] / 3600
    kwh = hours * rates.num_devices * rates.watts / 1000 * rates.pue
    return {
        "kinds": list(choice.kinds),
        "reasons": list(choice.reasons),
        "params": each.params,
        "shape": each.model.model_dump(mode="json"),
        "tokens": choice.tokens,
        "epochs": epochs,
        "effective_tokens": fresh,
        "effective_params": size,
        "tokens_per_parameter": choice.tokens / each.params,
        "num_steps": round(choice.tokens / each.batch_tokens),
        "batch_tokens": each.batch_tokens,
        "flops": each.flops_per_token * choice.tokens,
        "loss": None if loss is None else dict(zip(("p10", "p50", "p90"), loss, strict=True)),
        "hours": band(hours, each.hours_deviation),
        "device_hours": device_hours,
        "money": None if usd is None else {name: value * usd for name, value in device_hours.items()},
        "energy_kwh": band(kwh, math.hypot(each.hours_deviation, rates.watts_deviation)),
        "memory_gib": band(each.memory_bytes / GIB, each.memory_deviation),
        "memory_limit_gib": each.memory_limit / GIB,
        "layout": each.layout,
        "layout_how": each.how,
        "tokens_per_second": 1 / each.seconds_per_token,
        "mfu": each.mfu,
        "checkpoint": _checkpoint_fields(each, hours),
        "serving": {
            "device_hours": serving_hours * rates.num_devices,
            "usd": None if usd is None else serving_hours * rates.num_devices * usd,
            "flops_per_token": count_flops(shape_of(each.model)).causal / 3,
        },
    }


def _checkpoint_fields(each: Candidate, hours: float) -> dict[str, float]:
    saved = asdict(each.checkpoint)
    # a run that is over before the interval saves at its end
    return {"interval_hours": min(saved["interval_seconds"] / 3600, hours), **saved}


def _by_law(field: Field, losses: LossModel) -> list[dict[str, Any]]:
    """Return what each law alone would have chosen for the least loss."""
    found = []
    for name, law in losses.members:
        alone = replace(field, losses=law)
        best = int(np.argmin(alone.log_loss_cg[:, -1]))
        tokens = float(field.most_tokens[best])
        found.append({"law": name, "params": field.candidates[best].params, "tokens": tokens})
    return found


def _frontier(field: Field) -> list[dict[str, Any]]:
    """Return every size that can be trained with the whole budget, and its loss over the least."""
    least = float(field.log_loss_cg[:, -1].min())
    return [
        {
            "params": each.params,
            "precision": each.layout["precision"],
            "tokens": float(tokens),
            "hours": each.seconds(float(tokens), field.unique) / 3600,
            "loss_over_least": math.exp(float(log_loss) - least),
        }
        for each, tokens, log_loss in zip(field.candidates, field.most_tokens, field.log_loss_cg[:, -1], strict=True)
        if math.isfinite(log_loss)
    ]


def _notes(asked: Asked, field: Field, choices: list[Choice]) -> list[str]:
    found = []
    first = choices[0]
    if math.isinf(asked.unique):
        found.append("no --text-bytes: text is taken as no limit; say how much there is")
    elif first.tokens < asked.unique:
        found.append(f"the text is no limit: the compute-optimal run reads {first.tokens / asked.unique:.1%} of it")
    unspent = 1 - first.cost[0] / field.seconds
    if unspent > 0.1:
        found.append(f"{unspent:.0%} of the final run's time stay unspent: the text can't use more; more text would")
    if any(choice.candidate.layout["precision"] == "fp8" for choice in choices):
        found.append("fp8 where its speed is worth more than the 0.25 % of loss it may cost; --precision bf16: without")
    if asked.final_hours > LONG_HOURS:
        found.append(f"the final run takes {asked.final_hours / 24:,.0f} days: more devices cost no more")
    refused = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refused:
        found.append(f"{len(refused)} candidates are left out, whose loss the table can't carry: {refused[0]}")
    if asked.rates.usd_per_hour is None:
        found.append(asked.rates.price_how)
    return found
