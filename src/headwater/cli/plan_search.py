"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headwater.cli.amounts import parse_amount, parse_budget, parse_devices
from headwater.cli.terminal import card, energy_lines, hours_interval, interval, print_json
from headwater.core.numbers import count, duration, plural, significant
from headwater.machine.parallel.settings import fewest_ranks
from headwater.plan.budget import BudgetChoice, BudgetPlan, Query, SearchOptions, search_budget, searched_config
from headwater.plan.forecast.device import read_devices
from headwater.plan.hardware import Costs
from headwater.plan.scaling.repetition import MEASURED_EPOCHS, MEASURED_RATIO, NAME, most_epochs, says_of
from headwater.train.checkpoint.layout import list_checkpoints

Lines = list[tuple[str, str]]
NO_COSTS = Costs()
LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."
ALL_SPENT = 0.99
"Of the budget's hours: of less the card says what is left."


def search_options(
    budget: str,
    run: str | None = None,
    overrides: Sequence[str] = (),
    hardware: str = "",
    ranks: str = "",
    text_bytes: str = "",
    runs: Path | None = None,
    loss_unit: str = "bits_per_byte",
    costs: Costs = NO_COSTS,
) -> SearchOptions:
    """Return what is searched for, of what was typed; raise ConfigError for what is no amount."""
    config = searched_config(run, overrides, is_on_devices=bool(hardware))
    table = read_devices(costs.hardware) if hardware else {}
    device, place = parse_devices(hardware, ranks, fewest_ranks(config.parallel), table)
    size = parse_amount("--text-bytes", text_bytes, "bytes") if text_bytes else None
    return SearchOptions(
        parse_budget(budget), config, place, run, tuple(overrides), device, size, runs, loss_unit, costs
    )


def search(options: SearchOptions, of_own_text: str, as_json: bool) -> None:
    """Search size, tokens and batch for a budget; say what the run takes, and what to run next.

    `of_own_text` is the search for a run file that `headwater new` has written.
    """
    started_at = time.perf_counter()
    plan = search_budget(options)
    seconds = time.perf_counter() - started_at
    commands = next_commands(options, plan) if options.run else ["headwater new mine --text FOLDER", of_own_text]
    if as_json:
        return print_json(budget_fields(plan) | {"next": commands, "seconds": seconds})
    card(f"plan · {plan.query.name} · {plan.query.budget.text}", budget_card(plan, seconds))
    card("the run", choice_card(plan.choice, plan))
    print("next:", *commands, sep="\n")  # outside of the box, on one line each, so that it can be copied


def budget_fields(plan: BudgetPlan) -> dict[str, Any]:
    """Return what `headwater plan --budget --json` prints."""
    query, choice, devices = plan.query, plan.choice, plan.query.devices
    price = devices.usd_per_hour
    amounts = {"text": query.budget.text, "hours": query.hours, "usd": devices.usd(query.hours)}
    more = {"energy_how": devices.energy_how, "usd_per_device_hour": price and price.median}
    return {
        "name": query.name,
        "budget": asdict(devices) | amounts | more,
        "text": {"unique_tokens": None if math.isinf(query.unique) else query.unique, "how": query.text_how},
        "choice": asdict(choice) | {"shape": choice.shape.model_dump(mode="json")},
        "loss": {"unit": plan.loss_unit, "how": plan.losses_how},
        "searched": {"sizes": plan.num_sizes, "sizes_that_fit": plan.num_fitting},
        "notes": notes_of(plan),
    }


def notes_of(plan: BudgetPlan) -> list[str]:
    """Return what a reader of the choice must know besides."""
    choice, unique, found = plan.choice, plan.query.unique, list[str]()
    if choice.epochs > 1:
        found.append(f"{choice.epochs:.1f} epochs of the text: more text would bring more")
    if plan.refusals:
        found.append(
            f"{len(plan.refusals)} sizes are excluded: of them the runs at hand say nothing: {plan.refusals[0]}"
        )
    if plan.largest:
        is_last = plan.largest == "searched"
        larger = "no larger model is searched: one" if is_last else "no larger model fits: with more memory one"
        found.append(f"{larger} might be better")
    if choice.epochs > 1 and NAME in plan.losses_how:
        useful = says_of(most_epochs(choice.params, unique))
        found.append(f"text read again is counted by {NAME}, its cost uncertain by half: {useful}")
    epochs, density = choice.epochs, choice.params / unique
    if epochs > 1 and (density > MEASURED_RATIO or epochs > MEASURED_EPOCHS):
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here: up to {density:.2g} and {epochs:.1f}"
        )
    return found


def next_commands(options: SearchOptions, plan: BudgetPlan) -> list[str]:
    """Return what to call for a run with what was found: its plan, where that is of this machine, and its training."""
    choice = plan.choice
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in choice.settings.items())
    given = [each for each in options.overrides if each.partition("=")[0].strip() not in choice.settings]
    if list_checkpoints(options.config.run_dir):  # a run that is begun keeps its settings
        given.append(f"name={options.config.name}-budget")
    words = " ".join([*map(shlex.quote, [options.run or "", *given]), settings])
    ranks, num_local = options.place.world_size, options.place.local_world_size
    num_machines = ranks // num_local
    nodes = f"--nnodes {num_machines} --rdzv-backend c10d --rdzv-endpoint HOST:PORT " if num_machines > 1 else ""
    torchrun = f"torchrun {nodes}--nproc-per-node {num_local} -m headwater train {words}"
    train = torchrun if ranks > 1 else f"headwater run {words}"
    of_ranks = f" --ranks {num_machines}x{num_local}" if num_machines > 1 else f" --ranks {ranks}" if ranks > 1 else ""
    return [*([] if options.device else [f"headwater plan {words}{of_ranks}"]), train]


def budget_card(plan: BudgetPlan, seconds: float) -> Lines:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    query, devices = plan.query, plan.query.devices
    price = f"${devices.usd_per_hour.median:g} a device-hour: " if devices.usd_per_hour else ""
    lines = [
        ("devices", f"{devices.num_devices} × {devices.device}"),
        ("price", price + devices.price_how),
        ("power", devices.energy_how),
        ("hours", devices.hours_how),
        ("budget", f"{_cost(query.hours, query)}, of one run whose text is prepared"),
    ]
    unlimited = query.unique == float("inf")
    text = "taken as unlimited: no --text-bytes" if unlimited else f"{count(query.unique)} tokens: {query.text_how}"
    lines += [("text", text), ("loss", plan.losses_how)]
    lines.append(("searched", f"{plan.num_sizes} sizes, of which {plan.num_fitting} fit, in {seconds:.2f} s"))
    lines += [("note", note) for note in notes_of(plan)]
    return [*lines, ("below", "medians, and in brackets P10 to P90")]


def _cost(hours: float, query: Query) -> str:
    usd, span = query.devices.usd(hours), duration(3600 * hours)
    return span if usd is None else f"${significant(usd)}, {span}"


def choice_card(choice: BudgetChoice, plan: BudgetPlan) -> Lines:
    """Return the lines of one choice."""
    model, settings, query, hours = choice.shape, choice.settings, plan.query, plan.query.hours
    rows, micro = (settings[f"train.{name}_tokens"] // model.seq_len for name in ("batch", "microbatch"))
    epochs = f", {choice.epochs:.1f} epochs" if choice.epochs > 1 else ""
    share = choice.repetition_costs / (1 + choice.repetition_costs)
    repetition = f"; {share:.1%} of it for repetition" if share > LEAST_COST else ""
    spent = choice.hours.p50 / hours
    return [
        (
            "model",
            f"{count(choice.params)} parameters: {model.num_layers} layers, d_model {model.d_model}, "
            f"{model.num_heads} heads of {model.head_dim}, d_ff {model.d_ff}",
        ),
        (
            "tokens",
            f"{count(choice.tokens)}, {choice.tokens_per_parameter:.1f} a parameter, "
            f"{choice.num_steps:,} steps of {rows} × {model.seq_len} tokens{epochs}",
        ),
        *([("held-out loss", interval(asdict(choice.loss), plan.loss_unit) + repetition)] if choice.loss else []),
        ("time", hours_interval(asdict(choice.hours))),
        *([("money", f"${interval(asdict(choice.money), '')}")] if choice.money else []),
        *([("left", f"{_cost(hours * (1 - spent), query)} of the budget")] if spent < ALL_SPENT else []),
        *energy_lines(asdict(choice.energy_kwh), asdict(choice.kg_co2)),
        (
            "memory",
            f"{interval(asdict(choice.memory_gb), 'GB')} of {significant(choice.memory_limit_gb)} GB a device, "
            "without the pages of the text",
        ),
        ("layout", choice.layout),
        (
            "",
            f"{plural(micro, 'sequence')} a microbatch, {plural(choice.num_microbatches, 'microbatch', 'es')} a step; "
            f"{count(choice.tokens_per_second)} tokens/s",
        ),
    ]
