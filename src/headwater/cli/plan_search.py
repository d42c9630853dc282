"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

import time
from math import expm1
from typing import TYPE_CHECKING

from headwater.cli.terminal import carbon_interval, card, energy_interval, hours_interval, interval, print_json
from headwater.durations import duration
from headwater.numbers import count, plural, significant

if TYPE_CHECKING:
    from headwater.forecast.failures import Checkpoints
    from headwater.forecast.search import BudgetPlan, ChoiceForecast, Query
    from headwater.runs.search_options import SearchOptions

Lines = list[tuple[str, str]]
PARTS_IN_WORDS = {
    "evaluations": "validations and probes",
    "saves": "saves",
    "failures": "failures and what they undo",
    "start_and_end": "start and end",
    "text": "preparing text",
}
"What a run's time goes into besides steps."
LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."


def search(options: SearchOptions, as_json: bool) -> None:
    """Search size, tokens, batch, microbatch and checkpoints for a budget; say what each choice is good for."""
    from headwater.forecast.budget_fields import plan_fields
    from headwater.runs.budget_search import search_budget

    started_at = time.perf_counter()
    plan = search_budget(options)
    seconds = time.perf_counter() - started_at
    if as_json:
        return print_json(plan_fields(plan) | {"seconds": seconds})
    card(f"plan · {plan.name} · {plan.query.budget.text}", budget_card(plan, seconds))
    for found in plan.choices:
        mark = " · recommended" if found.is_recommended else ""
        card(" and ".join(found.choice.kinds) + mark, choice_card(found, plan))


def budget_card(plan: BudgetPlan, seconds: float) -> Lines:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    query, rates = plan.query, plan.query.rates
    hours = query.final_hours
    lines = [("devices", f"{rates.num_devices} × {rates.device}")]
    if rates.usd_per_hour is not None:
        lines.append(("price", f"${rates.usd_per_hour:g} a device-hour: {rates.price_how}"))
    lines += [("power", rates.energy_how), ("hours", rates.hours_how), ("final run", _cost(hours, query))]
    if query.final_share < 1:
        rest = _cost(hours / query.final_share - hours, query)
        lines.append(("programme", f"{_cost(hours / query.final_share, query)}; a ladder and failed attempts: {rest}"))
        lines.append(("", query.share_how))
    text = "unlimited" if query.unique == float("inf") else f"{count(query.unique)} tokens: {query.text_how}"
    lines += [("text", text), ("served", f"{count(plan.served)} tokens"), ("loss", plan.losses_how)]
    if sizes := [each.params for each in plan.by_law]:
        least, most = count(min(sizes)), count(max(sizes))
        span = f"from {least} to {most} parameters" if most != least else "this same size"
        lines.append(("", f"each law of fresh text alone would choose {span}"))
    for each in plan.by_repetition:
        lines.append(("", f"text read again, by {each.law}: {count(each.params)} × {each.epochs:.1f} epochs"))
    fit = f"{plan.num_sizes} sizes, of which {len(plan.field.candidates)} fit, in {seconds:.2f} s"
    lines.append(("searched", fit))
    lines += [("note", note) for note in plan.notes]
    return [*lines, ("below", "medians, and in brackets P10 to P90")]


def _cost(hours: float, query: Query) -> str:
    usd = query.rates.usd_per_hour
    said = duration(3600 * hours)
    return said if usd is None else f"${significant(hours * usd * query.rates.num_devices)}, {said}"


def choice_card(found: ChoiceForecast, plan: BudgetPlan) -> Lines:
    """Return the lines of one choice."""
    from headwater.forecast.budget_fields import settings_of, times

    choice, rates = found.choice, plan.query.rates
    each, model, placement = choice.candidate, choice.candidate.model, choice.candidate.placement
    epochs = f", {found.epochs:.1f} epochs" if found.epochs > 1 else ""
    mfu = f", MFU {each.mfu:.0%} of the {placement.precision} peak" if each.mfu else ""
    lines = [("why" if index == 0 else "", reason) for index, reason in enumerate(choice.reasons)]
    return [
        *lines,
        (
            "model",
            f"{count(each.params)} parameters: {model.num_layers} layers, d_model {model.d_model}, "
            f"{model.num_heads} heads of {model.head_dim}, d_ff {model.d_ff}",
        ),
        (
            "tokens",
            f"{count(choice.tokens)}, {choice.tokens / each.params:.1f} a parameter, "
            f"{round(choice.tokens / each.batch_tokens):,} steps of {placement.batch_rows} × {model.seq_len} tokens"
            + epochs,
        ),
        *([("loss", _loss(found, plan.field.losses.unit))] if found.loss else []),
        ("time", hours_interval(times(found.hours, 1))),
        *([("money", f"${interval(times(found.usd, 1), '')}")] if found.usd else []),
        ("energy", energy_interval(times(found.kwh, 1))),
        ("carbon", carbon_interval(times(found.kwh, rates.kg_co2_per_kwh))),
        (
            "memory",
            f"{interval(times(found.memory_gib, 1), 'GiB')} of {significant(each.memory_limit / 2**30)} a device",
        ),
        ("layout", placement.in_words),
        (
            "",
            f"{plural(placement.microbatch_rows, 'sequence')} a microbatch, "
            f"{plural(placement.num_microbatches, 'microbatch', 'es')} a step; "
            f"{count(1 / each.seconds_per_token)} tokens/s{mfu}",
        ),
        ("checkpoint", _checkpoints(each.checkpoints, found.hours.p50)),
        ("goodput", _goodput(found.hours_by_part)),
        ("settings", " ".join(f"{name}={value}" for name, value in settings_of(choice).items())),
        ("serving", _serving(found.served_device_hours, plan)),
    ]


def _loss(found: ChoiceForecast, unit: str) -> str:
    from headwater.forecast.budget_fields import times

    assert found.loss is not None
    share = -expm1(-found.repetition_cost)
    return interval(times(found.loss, 1), unit) + (f"; {share:.1%} of it for repetition" if share > LEAST_COST else "")


def _goodput(hours_by_part: dict[str, float]) -> str:
    """Return which part of the time shown is training, and what the rest goes into, largest first."""
    hours = sum(hours_by_part.values())
    rest = sorted(((hours_by_part[name] / hours, words) for name, words in PARTS_IN_WORDS.items()), reverse=True)
    said = ", ".join(f"{words} {share:.1%}" for share, words in rest if share >= 0.0005)
    return f"{hours_by_part['steps'] / hours:.1%} of this time is training; {said}"


def _checkpoints(saved: Checkpoints, hours: float) -> str:
    failures = f"a failure every {significant(saved.mtbf_seconds / 3600)} h"
    if saved.interval_seconds / 3600 > hours:
        return f"none needed for failures: Daly's interval is longer than the run ({failures})"
    return f"every {duration(saved.interval_seconds)} by Daly's rule ({failures})"


def _serving(device_hours: float, plan: BudgetPlan) -> str:
    usd = plan.query.rates.usd_per_hour
    money = "" if usd is None else f", ${significant(device_hours * usd)}"
    return f"{significant(device_hours)} device-hours for {count(plan.served)} tokens{money}"
