"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from math import expm1
from typing import TYPE_CHECKING

from headwater.cli.terminal import carbon_interval, card, energy_interval, hours_interval, interval, print_json
from headwater.durations import duration
from headwater.numbers import count, plural, significant

if TYPE_CHECKING:
    from headwater.forecast.budget import Query
    from headwater.forecast.search import BudgetPlan, Choice
    from headwater.runs.budget_search import SearchOptions

Lines = list[tuple[str, str]]
LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."


def search(options: SearchOptions, as_json: bool) -> None:
    """Search size, tokens and batch for a budget; say what each choice is good for, and what to run next."""
    from headwater.runs.budget_search import search_budget

    started_at = time.perf_counter()
    plan = search_budget(options)
    seconds = time.perf_counter() - started_at
    commands = next_commands(options, plan)
    if as_json:
        return print_json(plan.fields() | {"next": commands, "seconds": seconds})
    card(f"plan · {plan.name} · {plan.query.budget.text}", budget_card(plan, seconds))
    for choice in plan.choices:
        mark = " · recommended" if choice is plan.choices[-1] else ""
        card(choice.kind + mark, choice_card(choice, plan))
    print("next:", *commands, sep="\n")  # outside of the box, on one line each, so that it can be copied


def next_commands(options: SearchOptions, plan: BudgetPlan) -> list[str]:
    """Return what to call for the recommended choice: its own plan, where that is of this machine, and its training."""
    choice = plan.choices[-1]
    chosen = choice.candidate.settings(choice.tokens)
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in chosen.items())
    given = [each for each in options.overrides if each.partition("=")[0].strip() not in chosen]
    words = " ".join([shlex.quote(options.run or "mine.toml"), *map(shlex.quote, given), settings])
    ranks, node_size = plan.query.rates.num_devices, plan.query.rates.node_size
    several = f"--nnodes {-(-ranks // node_size)} --rdzv-backend c10d --rdzv-endpoint HOST:PORT "
    nodes = several if ranks > node_size else ""
    torchrun = f"torchrun {nodes}--nproc-per-node {min(ranks, node_size)} -m headwater train {words}"
    train = torchrun if ranks > 1 else f"headwater run {words}"
    first = [] if options.run else ["headwater new mine --text FOLDER"]
    return [*first, *([] if options.hardware else [f"headwater plan {words}"]), train]


def budget_card(plan: BudgetPlan, seconds: float) -> Lines:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    query, rates = plan.query, plan.query.rates
    lines = [("devices", f"{rates.num_devices} × {rates.device}")]
    if rates.usd_per_hour is not None:
        lines.append(("price", f"${rates.usd_per_hour.median:g} a device-hour: {rates.price_how}"))
    lines += [("power", rates.energy_how), ("hours", rates.hours_how), ("final run", _cost(query.final_hours, query))]
    if query.final_share < 1:
        whole = query.final_hours / query.final_share
        rest = _cost(whole - query.final_hours, query)
        lines += [
            ("programme", f"{_cost(whole, query)}; a ladder and failed attempts: {rest}"),
            ("", query.share_how),
        ]
    text = (
        "taken as unlimited: no --text-bytes"
        if query.unique == float("inf")
        else f"{count(query.unique)} tokens: {query.text_how}"
    )
    lines += [("text", text), ("served", f"{count(plan.served)} tokens"), ("loss", plan.losses_how)]
    if sizes := [each.params for each in plan.by_law]:
        least, most = count(min(sizes)), count(max(sizes))
        span = f"from {least} to {most} parameters" if most != least else "this same size"
        lines.append(("", f"each law of fresh text alone would choose {span}"))
    for each in plan.by_repetition:
        lines.append(("", f"text read again, by {each.law}: {count(each.params)} × {each.epochs:.1f} epochs"))
    lines.append(("searched", f"{plan.num_sizes} sizes, of which {plan.num_fitting} fit, in {seconds:.2f} s"))
    lines += [("note", note) for note in plan.notes]
    return [*lines, ("below", "medians, and in brackets P10 to P90")]


def _cost(hours: float, query: Query) -> str:
    usd, said = query.rates.usd(hours), duration(3600 * hours)
    return said if usd is None else f"${significant(usd)}, {said}"


def choice_card(choice: Choice, plan: BudgetPlan) -> Lines:
    """Return the lines of one choice."""
    each, model, rates = choice.candidate, choice.candidate.model, plan.query.rates
    epochs = f", {choice.epochs:.1f} epochs" if choice.epochs > 1 else ""
    share = -expm1(-choice.repetition_cost)
    repetition = f"; {share:.1%} of it for repetition" if share > LEAST_COST else ""
    microbatches = each.batch_rows // each.num_devices // each.microbatch_rows
    served, usd = choice.served_device_hours, rates.usd(choice.served_device_hours / rates.num_devices)
    return [
        ("why", choice.reason),
        (
            "model",
            f"{count(each.params)} parameters: {model.num_layers} layers, d_model {model.d_model}, "
            f"{model.num_heads} heads of {model.head_dim}, d_ff {model.d_ff}",
        ),
        (
            "tokens",
            f"{count(choice.tokens)}, {choice.tokens / each.params:.1f} a parameter, "
            f"{round(choice.tokens / each.batch_tokens):,} steps of {each.batch_rows} × {model.seq_len} tokens{epochs}",
        ),
        *([("loss", interval(asdict(choice.loss), plan.loss_unit) + repetition)] if choice.loss else []),
        ("time", hours_interval(asdict(choice.hours))),
        *([("money", f"${interval(asdict(choice.usd), '')}")] if choice.usd else []),
        ("energy", energy_interval(asdict(choice.kwh))),
        ("carbon", carbon_interval({name: rates.kg_co2_per_kwh * kwh for name, kwh in asdict(choice.kwh).items()})),
        (
            "memory",
            f"{interval(asdict(choice.memory_gib), 'GiB')} of {significant(each.memory_limit / 2**30)} a device",
        ),
        ("layout", each.layout),
        (
            "",
            f"{plural(each.microbatch_rows, 'sequence')} a microbatch, {plural(microbatches, 'microbatch', 'es')} a "
            f"step; {count(1 / each.seconds_per_token)} tokens/s",
        ),
        (
            "serving",
            f"{significant(served)} device-hours for {count(plan.served)} tokens"
            + ("" if usd is None else f", ${significant(usd)}"),
        ),
    ]
