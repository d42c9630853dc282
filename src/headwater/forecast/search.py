"""A budget as a choice of runs: size, tokens, layout, batch, microbatch, checkpoints, each with what it will cost.

No torch. Who asks brings a way to make candidates: devices of a table here, the machine at hand in `recipes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.answer import (
    budget_fields,
    by_law,
    choice_fields,
    frontier,
    notes,
    serving_fields,
    text_fields,
)
from headwater.forecast.candidate import Candidate, LayoutSearch
from headwater.forecast.choices import MIN_STEPS, TOO_SHORT, Field, LossModel, choose
from headwater.forecast.count import count_flops, count_params
from headwater.forecast.query import Query
from headwater.forecast.recommendation import notes_of_laws, recommended, repetition_fields
from headwater.forecast.shape import shape_of
from headwater.model.settings import ModelSettings
from headwater.scaling.table import MAX_EPOCHS

WINDOW = 0.08
"In log loss by a first guess: sizes further above the best one aren't laid out."
NUM_LENGTHS = 32
"Of a run, from one epoch to all that the time allows: at the best of them a size is judged."
FEW_SIZES = 4
"Sizes that must fit, so that there is something to choose from."
USUAL_RATIO = 20
"Tokens a parameter, as Chinchilla has it (arXiv:2203.15556)."

Guess = Callable[[ModelSettings], float]
"Tokens that the time allows, about, before a layout is known."
Make = Callable[[ModelSettings, float], LayoutSearch]
"Candidates of a size for a run of about that many tokens."


def usual_flops(models: list[ModelSettings], guess: Guess) -> float:
    """Return about the compute that a budget buys: that of the size nearest to 20 tokens a parameter."""
    shapes = [(shape_of(model), guess(model)) for model in models]
    runs = [(count_flops(shape).causal, count_params(shape).total, tokens) for shape, tokens in shapes]
    flops, _, tokens = min(runs, key=lambda run: abs(math.log(max(run[2], 1.0) / (USUAL_RATIO * run[1]))))
    return flops * max(tokens, 1.0)


def search(query: Query, models: list[ModelSettings], guess: Guess, make: Make, losses: LossModel) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints, without the time it took."""
    query.check()
    kept = _near_the_best(query, models, guess, losses)
    searched = _layouts_of(kept, make)
    candidates = tuple(each for found in searched for each in found.candidates)
    if not candidates:
        raise ConfigError(_nothing_fits(query, kept[0].model))
    field = Field(candidates, query.final_hours * 3600, query.unique, losses)
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(query, field))
    choices, served = choose(field, query.serve_tokens)
    first, repetition = choices[0], repetition_fields(field, choices, losses)
    taken = recommended(choices, repetition)
    return {
        "budget": budget_fields(query),
        "text": text_fields(query),
        "serving": serving_fields(query, served),
        "choices": [
            choice_fields(query, choice, field, losses, served) | {"recommended": place == taken}
            for place, choice in enumerate(choices)
        ],
        "repetition": repetition,
        "loss": {"unit": losses.unit, "how": losses.how(field.size(first.candidate), first.tokens)},
        "by_law": by_law(field, losses),
        "frontier": frontier(field),
        "searched": {
            "sizes": len(models),
            "sizes_laid_out": len(searched),
            "layouts": sum(found.num_layouts for found in searched),
            "layouts_estimated": sum(found.num_estimated for found in searched),
        },
        "notes": [
            *notes(query, field, choices),
            *notes_of_laws(field, choices, repetition),
            *_too_large(kept, candidates),
        ],
    }


@dataclass(frozen=True)
class SizeGuess:
    """A size, the tokens it might see, and its log loss then; infinite where no law says anything."""

    model: ModelSettings
    tokens: float
    log_loss: float


def _near_the_best(query: Query, models: list[ModelSettings], guess: Guess, losses: LossModel) -> list[SizeGuess]:
    """Return sizes up to the last whose loss isn't hopeless by a first guess, smallest first."""
    tokens = np.array([max(1.0, min(MAX_EPOCHS * query.unique, guess(model))) for model in models])
    counts = [count_params(shape_of(model)) for model in models]
    params = np.array([float(each.total if losses.counts_embedding else each.matmul) for each in counts])
    total = np.array([float(each.total) for each in counts])
    # each at the length that serves it best: the longest may read the text far too often
    lengths_sg = np.geomspace(np.minimum(tokens, query.unique), tokens, NUM_LENGTHS, axis=1)
    repeated = losses.strength.log_cost(total[:, None], lengths_sg, query.unique)
    logs_sg = losses.log_loss(params[:, None], lengths_sg) + repeated
    best = logs_sg.argmin(axis=1)
    logs, tokens = logs_sg.min(axis=1), lengths_sg[np.arange(len(models)), best]
    refused = [losses.refusal(size, seen) is not None for size, seen in zip(params, tokens, strict=True)]
    # tokens of a tenth of the parameters are beyond any law
    logs = np.where((tokens < 0.1 * params) | (np.array(refused) & (not all(refused))), np.inf, logs)
    sizes = [SizeGuess(*each) for each in zip(models, tokens.tolist(), logs.tolist(), strict=True)]
    last = max((place for place, each in enumerate(sizes) if each.log_loss <= logs.min() + WINDOW), default=0)
    return sizes[: last + 1] if math.isfinite(logs.min()) else sizes[:1]


def _layouts_of(kept: list[SizeGuess], make: Make) -> list[LayoutSearch]:
    """Return candidates of the sizes near the best; where few of those fit, of smaller ones until a few do."""
    least = min(each.log_loss for each in kept)
    searched: list[LayoutSearch] = []
    for each in reversed(kept):
        is_near = each.log_loss <= least + WINDOW or math.isinf(least)
        if is_near or sum(bool(found.candidates) for found in searched) < FEW_SIZES:
            searched.insert(0, make(each.model, each.tokens))
    return searched


def _too_large(kept: list[SizeGuess], candidates: tuple[Candidate, ...]) -> list[str]:
    """Return a note where the best size by the first guess is larger than all that fit."""
    best = count_params(shape_of(min(kept, key=lambda each: each.log_loss).model)).total
    if best <= max(each.params for each in candidates):
        return []
    return [f"about {best:.2g} parameters would be worth the budget and fit in no layout: more memory would help"]


def _nothing_fits(query: Query, smallest: ModelSettings) -> str:
    params = count_params(shape_of(smallest)).total
    rates = query.rates
    return (
        f"no size fits: {params:,} parameters (the smallest) need more memory, or a "
        f"larger batch, than {rates.num_devices} × {rates.device} allow in any layout; take other or more devices, "
        "raise max_memory, or lower tokenizer.vocab_size or model.seq_len"
    )


def _nothing_trains(query: Query, field: Field) -> str:
    refusals = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refusals:
        return (
            f"the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{refusals[0]}; or drop --runs and RUN to use published laws"
        )
    cap = MAX_EPOCHS * query.unique
    smallest = field.candidates[0]
    if cap < MIN_STEPS * smallest.batch_tokens:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {cap:,.0f} tokens, less than {MIN_STEPS} steps "
            f"of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = smallest.seconds(float(MIN_STEPS) * smallest.batch_tokens, query.unique)
    return (
        f"the budget {query.budget.text} is {_span(query.final_hours * 3600)} of the final run on "
        f"{query.rates.num_devices} × {query.rates.device}; {MIN_STEPS} steps of the smallest model take "
        f"{_span(needs)}: raise the budget"
    )


def _span(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 3600:.3g} h"
