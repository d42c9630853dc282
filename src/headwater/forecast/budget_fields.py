"""A budget's plan as plain values: what `headwater plan --budget --json` prints. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from headwater.forecast.choices import Choice
from headwater.forecast.result import Band
from headwater.forecast.search import BudgetPlan, ChoiceForecast, Query

SIZE_SETTINGS = ("family", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_dim", "seq_len")


def times(band: Band, factor: float) -> dict[str, float]:
    """Return P10, P50 and P90 of a band times a factor, as the cards and JSON have them."""
    return {name: factor * value for name, value in asdict(band).items()}


def plan_fields(plan: BudgetPlan) -> dict[str, Any]:
    """Return the whole plan."""
    query, field = plan.query, plan.field
    return {
        "name": plan.name,
        "budget": budget_fields(query),
        "text": {"unique_tokens": None if math.isinf(query.unique) else query.unique, "how": query.text_how},
        "serving": {"tokens": plan.served},
        "choices": [choice_fields(each, query) for each in plan.choices],
        "loss": {"unit": field.losses.unit, "how": plan.losses_how},
        "by_law": [asdict(each) for each in plan.by_law],
        "by_law_of_repetition": [asdict(each) for each in plan.by_repetition],
        "frontier": frontier(plan),
        "searched": {"sizes": plan.num_sizes, "sizes_that_fit": len(field.candidates)},
        "notes": list(plan.notes),
    }


def budget_fields(query: Query) -> dict[str, Any]:
    """Return what the budget comes to: for the programme, the final run, and the rest."""
    rates, hours = query.rates, query.final_hours
    programme, rest = hours / query.final_share, hours / query.final_share - hours
    usd = None if rates.usd_per_hour is None else rates.num_devices * rates.usd_per_hour
    parts = {"programme": programme, "final_run": hours, "ladder_and_failures": rest}
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
        **{name: {"hours": part, "usd": None if usd is None else part * usd} for name, part in parts.items()},
    }


def choice_fields(found: ChoiceForecast, query: Query) -> dict[str, Any]:
    """Return one choice: sizes, what it takes with bands, how it is laid out, saved and served."""
    choice, rates = found.choice, query.rates
    each, tokens, placement = choice.candidate, choice.tokens, choice.candidate.placement
    usd, saved = rates.usd_per_hour, asdict(each.checkpoints)
    del saved["shares"]
    # a run that is over before the interval saves at its end
    interval = min(saved["interval_seconds"] / 3600, found.hours.p50)
    return {
        "kinds": list(choice.kinds),
        "reasons": list(choice.reasons),
        "recommended": found.is_recommended,
        "params": each.params,
        "shape": each.model.model_dump(mode="json"),
        "settings": settings_of(choice),
        "tokens": tokens,
        "epochs": found.epochs,
        "repetition_costs": math.expm1(found.repetition_cost),
        "tokens_per_parameter": tokens / each.params,
        "num_steps": round(tokens / each.batch_tokens),
        "batch_tokens": each.batch_tokens,
        "flops": each.flops_per_token * tokens,
        "loss": found.loss and asdict(found.loss),
        "hours": asdict(found.hours),
        "device_hours": times(found.hours, rates.num_devices),
        "money": found.usd and asdict(found.usd),
        "energy_kwh": asdict(found.kwh),
        "kg_co2": times(found.kwh, rates.kg_co2_per_kwh),
        "memory_gib": asdict(found.memory_gib),
        "memory_limit_gib": each.memory_limit / 2**30,
        "layout": asdict(placement) | {"data": placement.num_devices, "num_microbatches": placement.num_microbatches},
        "layout_how": placement.in_words,
        "tokens_per_second": 1 / each.seconds_per_token,
        "mfu": each.mfu,
        "hours_by_part": found.hours_by_part,
        "checkpoint": {"interval_hours": interval, **saved, "goodput": found.hours_by_part["steps"] / found.hours.p50},
        "serving": {
            "device_hours": found.served_device_hours,
            "usd": None if usd is None else found.served_device_hours * usd,
        },
    }


def settings_of(choice: Choice) -> dict[str, Any]:
    """Return what a run file, or overrides on the command line, say of the choice: sizes, batch and steps."""
    each = choice.candidate
    dumped = each.model.model_dump(mode="json", include=set(SIZE_SETTINGS))
    steps = {"train.batch_tokens": each.batch_tokens, "train.num_steps": round(choice.tokens / each.batch_tokens)}
    vocabulary = {"tokenizer.vocab_size": each.model.vocab_size}
    return {f"model.{name}": value for name, value in dumped.items()} | vocabulary | steps | each.extra_settings


def frontier(plan: BudgetPlan) -> list[dict[str, Any]]:
    """Return every size with the tokens that serve it best within the budget, and its loss over the least."""
    field = plan.field
    last = field.log_loss_cg[:, -1]
    return [
        {
            "params": each.params,
            "precision": each.placement.precision,
            "tokens": float(tokens),
            "hours": each.seconds(float(tokens), field.unique) / 3600,
            "loss_over_least": math.exp(float(log_loss) - float(last.min())),
        }
        for each, tokens, log_loss in zip(field.candidates, field.best_tokens, last, strict=True)
        if math.isfinite(log_loss)
    ]
