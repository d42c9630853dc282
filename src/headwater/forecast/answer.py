"""The answer of a search over a budget as plain values: what `headwater plan --budget --json` prints. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from headwater.forecast.candidate import Candidate
from headwater.forecast.choices import SERVED_RATE, TOO_SHORT, Choice, Field, LossModel
from headwater.forecast.count import count_flops
from headwater.forecast.query import Query
from headwater.forecast.result import Spread
from headwater.forecast.shape import shape_of

LONG_HOURS = 90 * 24


def text_fields(query: Query) -> dict[str, Any]:
    return {"unique_tokens": None if math.isinf(query.unique) else query.unique, "how": query.text_how}


def serving_fields(query: Query, served: float) -> dict[str, Any]:
    """Return how many tokens the model is taken to serve, and why."""
    why = "as many as the compute-optimal run trains on" if query.serve_tokens is None else "--serve-tokens"
    return {"tokens": served, "how": f"{why}; at {SERVED_RATE:.0%} of training's FLOP/s, assumed"}


def budget_fields(query: Query) -> dict[str, Any]:
    """Return what the budget comes to: for the programme, the final run, and the rest."""
    rates, hours = query.rates, query.final_hours
    programme = hours / query.final_share
    usd = None if rates.usd_per_hour is None else programme * rates.num_devices * rates.usd_per_hour
    return {
        "text": query.budget.text,
        "num_devices": rates.num_devices,
        "device": rates.device,
        "usd_per_device_hour": rates.usd_per_hour,
        "price_how": rates.price_how,
        "energy_how": rates.energy_how,
        "hours_how": rates.hours_how,
        "hours_backtest": rates.hours_backtest,
        "final_share": query.final_share,
        "final_share_how": query.share_how,
        "programme": {"hours": programme, "usd": usd},
        "final_run": {"hours": hours, "usd": None if usd is None else usd * query.final_share},
        "ladder_and_failures": {
            "hours": programme - hours,
            "usd": None if usd is None else usd * (1 - query.final_share),
        },
    }


def choice_fields(query: Query, choice: Choice, field: Field, losses: LossModel, served: float) -> dict[str, Any]:
    """Return one choice: sizes, what it takes with bands, how it is laid out, saved and served."""
    each, rates = choice.candidate, query.rates
    epochs = max(1.0, choice.tokens / query.unique)
    strength, params = losses.strength, float(each.params)
    repeated = float(strength.log_cost(np.array(params), np.array(choice.tokens), query.unique))
    deviation = strength.deviation(params, choice.tokens, query.unique)
    loss = losses.quantiles(field.size(each), choice.tokens, each.log_penalty + repeated, deviation)
    hours = each.seconds(choice.tokens, query.unique) / 3600
    parts = {name: part / 3600 for name, part in each.seconds_by_part(choice.tokens, query.unique).items()}
    device_hours = Spread(hours * rates.num_devices, each.hours_deviation).band()
    usd = rates.usd_per_hour
    serving_hours = served * choice.cost[2] / 3600
    kwh = hours * rates.num_devices * rates.watts / 1000 * rates.pue
    energy = Spread(kwh, math.hypot(each.hours_deviation, rates.watts_deviation)).band()
    return {
        "kinds": list(choice.kinds),
        "reasons": list(choice.reasons),
        "params": each.params,
        "shape": each.model.model_dump(mode="json"),
        "settings": _settings(choice),
        "tokens": choice.tokens,
        "epochs": epochs,
        "repetition_costs": math.expm1(repeated),
        "tokens_per_parameter": choice.tokens / each.params,
        "num_steps": round(choice.tokens / each.batch_tokens),
        "batch_tokens": each.batch_tokens,
        "flops": each.flops_per_token * choice.tokens,
        "loss": None if loss is None else dict(zip(("p10", "p50", "p90"), loss, strict=True)),
        "hours": Spread(hours, each.hours_deviation).band(),
        "device_hours": device_hours,
        "money": None if usd is None else {name: value * usd for name, value in device_hours.items()},
        "energy_kwh": energy,
        "kg_co2": {name: value * rates.kg_co2_per_kwh for name, value in energy.items()},
        "memory_gib": Spread(each.memory_bytes / 2**30, each.memory_deviation).band(),
        "memory_limit_gib": each.memory_limit / 2**30,
        "layout": each.layout,
        "layout_how": each.how,
        "runnable": not each.needs,
        "needs": list(each.needs),
        "tokens_per_second": 1 / each.seconds_per_token,
        "mfu": each.mfu,
        "hours_by_part": parts,
        "checkpoint": _checkpoint_fields(each, hours, parts["steps"]),
        "serving": {
            "device_hours": serving_hours * rates.num_devices,
            "usd": None if usd is None else serving_hours * rates.num_devices * usd,
            "flops_per_token": count_flops(shape_of(each.model)).causal / 3,
        },
    }


def _settings(choice: Choice) -> dict[str, Any]:
    """Return what a run file, or overrides on the command line, say of the choice: sizes, batch and steps."""
    model, batch = choice.candidate.model, choice.candidate.batch_tokens
    sizes = {f"model.{name}": value for name, value in model.model_dump(mode="json", include=_SIZES).items()}
    vocabulary = {"tokenizer.vocab_size": model.vocab_size}
    steps = {"train.batch_tokens": batch, "train.num_steps": round(choice.tokens / batch)}
    return sizes | vocabulary | steps | choice.candidate.extra_settings


_SIZES = {"family", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim", "seq_len"}


def _checkpoint_fields(each: Candidate, hours: float, steps_hours: float) -> dict[str, float]:
    saved = {name: value for name, value in asdict(each.checkpoint).items() if name != "shares"}
    # a run that is over before the interval saves at its end
    interval = min(saved["interval_seconds"] / 3600, hours)
    return {"interval_hours": interval, **saved, "goodput": steps_hours / hours}


def by_law(field: Field, losses: LossModel) -> list[dict[str, Any]]:
    """Return what each law alone would have chosen for the least loss."""
    found = []
    for name, law in losses.members:
        alone = replace(field, losses=law)
        best = int(np.argmin(alone.log_loss_cg[:, -1]))
        tokens = float(alone.best_tokens[best])
        found.append({"law": name, "params": field.candidates[best].params, "tokens": tokens})
    return found


def frontier(field: Field) -> list[dict[str, Any]]:
    """Return every size with the tokens that serve it best within the budget, and its loss over the least."""
    least = float(field.log_loss_cg[:, -1].min())
    return [
        {
            "params": each.params,
            "precision": each.layout["precision"],
            "tokens": float(tokens),
            "hours": each.seconds(float(tokens), field.unique) / 3600,
            "loss_over_least": math.exp(float(log_loss) - least),
        }
        for each, tokens, log_loss in zip(field.candidates, field.best_tokens, field.log_loss_cg[:, -1], strict=True)
        if math.isfinite(log_loss)
    ]


def notes(query: Query, field: Field, choices: list[Choice]) -> list[str]:
    """Return what a reader of the choices must know besides."""
    found = []
    first = choices[0]
    if math.isinf(query.unique):
        found.append("no --text-bytes: text is taken as unlimited")
    elif first.tokens < query.unique:
        found.append(f"the compute-optimal run reads {first.tokens / query.unique:.1%} of the text")
    unspent = 1 - first.cost[0] / field.seconds
    if unspent > 0.1:
        found.append(f"{unspent:.0%} of the final run's time is unspent: more text would use it, more epochs don't")
    if any(choice.candidate.layout["precision"] == "fp8" for choice in choices):
        found.append(
            "fp8 (machine.dtype=float8) is counted at 0.25 % of loss; headwater has never trained in it on a GPU"
        )
    if query.final_hours > LONG_HOURS:
        found.append(f"the final run takes {query.final_hours / 24:,.0f} days: more devices cost no more")
    refused = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refused:
        found.append(f"{len(refused)} candidates are excluded: the table can't carry their loss: {refused[0]}")
    if query.rates.usd_per_hour is None:
        found.append(query.rates.price_how)
    return found
