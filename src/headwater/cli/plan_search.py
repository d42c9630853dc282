"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from headwater.cli.terminal import carbon_interval, card, energy_interval, hours_interval, interval, print_json
from headwater.durations import duration
from headwater.numbers import count, plural, significant

if TYPE_CHECKING:
    from headwater.runs.budget_search import SearchOptions

Lines = list[tuple[str, str]]


def search(options: SearchOptions, as_json: bool) -> None:
    """Search size, tokens and batch for a budget; say what each choice is good for, and what to run next."""
    from headwater.runs.budget_search import search_budget

    plan = search_budget(options)
    commands = next_commands(options, plan)
    if as_json:
        return print_json(plan | {"next": commands})
    card(f"plan · {plan['name']} · {plan['budget']['text']}", budget_card(plan))
    for choice in plan["choices"]:
        card(choice["kind"] + (" · recommended" if choice["recommended"] else ""), choice_card(choice, plan))
    print("next:", *commands, sep="\n")  # outside of the box, on one line each, so that it can be copied


def next_commands(options: SearchOptions, plan: dict[str, Any]) -> list[str]:
    """Return what to call for the recommended choice: its own plan, and its training."""
    chosen = plan["choices"][-1]["settings"]
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in chosen.items())
    given = [each for each in options.overrides if each.partition("=")[0].strip() not in chosen]
    words = " ".join([shlex.quote(options.run or "mine.toml"), *map(shlex.quote, given), settings])
    ranks, node_size = plan["budget"]["num_devices"], plan["budget"]["node_size"]
    several = f"--nnodes {-(-ranks // node_size)} --rdzv-backend c10d --rdzv-endpoint HOST:PORT "
    nodes = several if ranks > node_size else ""
    torchrun = f"torchrun {nodes}--nproc-per-node {min(ranks, node_size)} -m headwater train {words}"
    train = torchrun if ranks > 1 else f"headwater run {words}"
    first = [] if options.run else ["headwater new mine --text FOLDER"]
    return [*first, f"headwater plan {words}", train]


def budget_card(plan: dict[str, Any]) -> Lines:
    """Return the lines of what is asked: money, hours, text, prices."""
    budget, text = plan["budget"], plan["text"]
    price = budget["usd_per_device_hour"]
    lines = [
        ("devices", f"{budget['num_devices']} × {budget['device']}"),
        ("price", ("" if price is None else f"${price:g} a device-hour: ") + budget["price_how"]),
        ("power", budget["energy_how"]),
        ("hours", budget["hours_how"]),
        ("final run", _cost(budget["final_run"])),
    ]
    if budget["final_share"] < 1:
        lines += [
            ("programme", _cost(budget["programme"]) + " with a ladder and failed attempts"),
            ("", budget["final_share_how"]),
        ]
    tokens = text["unique_tokens"]
    lines += [
        ("text", "taken as unlimited: no --text-bytes" if tokens is None else f"{count(tokens)} tokens: {text['how']}"),
        ("served", f"{count(plan['serving_tokens'])} tokens"),
        ("loss", plan["loss"]["how"]),
    ]
    if len(sizes := {each["params"] for each in plan["by_law"]}) > 1:
        span = f"from {count(min(sizes))} to {count(max(sizes))} parameters"
        lines.append(("", f"each law of fresh text alone would choose {span}"))
    if len({each["params"] for each in plan["by_law_of_repetition"]}) > 1:
        for each in plan["by_law_of_repetition"]:
            found = f"{count(each['params'])} × {each['epochs']:.1f} epochs"
            lines.append(("", f"text read again, by {each['law']}: {found}"))
    return [*lines, *(("note", note) for note in plan["notes"]), ("below", "medians, and in brackets P10 to P90")]


def _cost(part: dict[str, float | None]) -> str:
    usd, said = part["usd"], duration(3600 * (part["hours"] or 0.0))
    return said if usd is None else f"${significant(usd)}, {said}"


def choice_card(choice: dict[str, Any], plan: dict[str, Any]) -> Lines:
    """Return the lines of one choice."""
    model, settings = choice["shape"], choice["settings"]
    epochs = f", {choice['epochs']:.1f} epochs" if choice["epochs"] > 1 else ""
    share = choice["repetition_costs"] / (1 + choice["repetition_costs"])
    repetition = f"; {share:.1%} of it for repetition" if epochs else ""
    num_devices, price = plan["budget"]["num_devices"], plan["budget"]["usd_per_device_hour"]
    batch, microbatch = settings["train.batch_tokens"], settings["train.microbatch_tokens"]
    rows, microbatches = microbatch // model["seq_len"], batch // num_devices // microbatch
    served = choice["serving_device_hours"]
    return [
        ("why", choice["reason"]),
        (
            "model",
            f"{count(choice['params'])} parameters: {model['num_layers']} layers, d_model {model['d_model']}, "
            f"{plural(model['num_heads'], 'head')} of {model['head_dim']}, d_ff {model['d_ff']}",
        ),
        (
            "tokens",
            f"{count(choice['tokens'])}, {choice['tokens_per_parameter']:.1f} a parameter, {choice['num_steps']:,} "
            f"steps of {batch // model['seq_len']} × {model['seq_len']} tokens{epochs}",
        ),
        *([("loss", interval(choice["loss"], plan["loss"]["unit"]) + repetition)] if choice["loss"] else []),
        ("time", hours_interval(choice["hours"])),
        *([("money", f"${interval(choice['money'], '')}")] if choice["money"] else []),
        ("energy", energy_interval(choice["energy_kwh"])),
        ("carbon", carbon_interval(choice["kg_co2"])),
        ("memory", f"{interval(choice['memory_gib'], 'GiB')} of {significant(choice['memory_limit_gib'])} a device"),
        ("layout", choice["layout"]),
        (
            "",
            f"{plural(rows, 'sequence')} a microbatch, {plural(microbatches, 'microbatch', 'es')} a step; "
            f"{count(choice['tokens_per_second'])} tokens/s",
        ),
        (
            "serving",
            f"{significant(served)} device-hours for {count(plan['serving_tokens'])} tokens"
            + ("" if price is None else f", ${significant(served * price)}"),
        ),
    ]
