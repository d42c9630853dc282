"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.cli.terminal import carbon_interval, card, energy_interval, hours_interval, interval, print_json
from headwater.durations import duration
from headwater.report.numbers import count, plural, significant

if TYPE_CHECKING:
    from headwater.runs.search_options import SearchOptions

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
    """Search size, tokens, layout, batch and checkpoints for a budget; say what each choice is good for."""
    from headwater.runs.searching import search_budget

    result = search_budget(options)
    print_json(result) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    card(f"plan · {result['name']} · {result['budget']['text']}", budget_card(result))
    for choice in result["choices"]:
        mark = " · recommended" if choice["recommended"] else ""
        mark += "" if choice["runnable"] else " · headwater can't run this today"
        card(" and ".join(choice["kinds"]) + mark, choice_card(choice, result))


def budget_card(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    budget, searched, text = result["budget"], result["searched"], result["text"]
    final, programme = budget["final_run"], budget["programme"]
    rest = budget["ladder_and_failures"]
    lines = [("devices", f"{budget['num_devices']} × {budget['device']}")]
    if programme["usd"] is not None:
        lines.append(("price", f"${budget['usd_per_device_hour']:g} a device-hour: {budget['price_how']}"))
    lines.append(("power", budget["energy_how"]))
    lines.append(("hours", budget["hours_how"]))
    lines.append(("final run", _cost(final)))
    if rest["hours"]:
        lines.append(("programme", f"{_cost(programme)}; a ladder and attempts that fail: {_cost(rest)}"))
        lines.append(("", budget["final_share_how"]))
    known = text["unique_tokens"]
    lines.append(("text", "unlimited" if known is None else f"{count(known)} tokens: {text['how']}"))
    lines.append(("served", f"{count(result['serving']['tokens'])} tokens: {result['serving']['how']}"))
    lines.append(("loss", result["loss"]["how"]))
    if sizes := [each["params"] for each in result["by_law"]]:
        least, most = count(min(sizes)), count(max(sizes))
        span = f"from {least} to {most} parameters" if most != least else "this same size"
        lines.append(("", f"each law alone would choose {span}"))
    lines.append(
        (
            "searched",
            f"{searched['sizes']} sizes, {searched['sizes_laid_out']} laid out, {searched['layouts']:,} layouts in "
            f"{result['seconds']:.2f} s",
        )
    )
    lines += [("note", note) for note in result["notes"]]
    return [*lines, ("below", "medians, and in brackets P10 to P90")]


def _cost(part: dict[str, float | None]) -> str:
    assert part["hours"] is not None
    hours = duration(3600 * part["hours"])
    return hours if part["usd"] is None else f"${significant(part['usd'])}, {hours}"


def choice_card(choice: dict[str, Any], result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of one choice."""
    shape, saved, layout = choice["shape"], choice["checkpoint"], choice["layout"]
    lines = [("why" if index == 0 else "", reason) for index, reason in enumerate(choice["reasons"])]
    lines += [
        (
            "model",
            f"{count(choice['params'])} parameters: {shape['num_layers']} layers, d_model {shape['d_model']}, "
            f"{shape['num_heads']} heads of {shape['head_dim']}, d_ff {shape['d_ff']}",
        ),
        (
            "tokens",
            f"{count(choice['tokens'])}, {choice['tokens_per_parameter']:.1f} a parameter, "
            f"{choice['num_steps']:,} steps of {layout['batch_rows']} × {shape['seq_len']} tokens"
            + (f", {choice['epochs']:.1f} epochs" if choice["epochs"] > 1 else ""),
        ),
        *([("loss", _loss(choice, result["loss"]["unit"]))] if choice["loss"] else []),
        ("time", hours_interval(choice["hours"])),
        *([("money", f"${interval(choice['money'], '')}")] if choice["money"] else []),
        ("energy", energy_interval(choice["energy_kwh"])),
        ("carbon", carbon_interval(choice["kg_co2"])),
        ("memory", f"{interval(choice['memory_gib'], 'GiB')} of {significant(choice['memory_limit_gib'])} a device"),
        ("layout", choice["layout_how"]),
        *([("needs", f"{', '.join(choice['needs'])}: headwater has none of it today")] if choice["needs"] else []),
        (
            "",
            f"{plural(layout['microbatch_rows'], 'sequence')} a microbatch, "
            f"{plural(layout['num_microbatches'], 'microbatch', 'es')} a step; "
            f"{count(choice['tokens_per_second'])} tokens/s"
            + (f", MFU {choice['mfu']:.0%} of the {layout['precision']} peak" if choice["mfu"] else ""),
        ),
        ("checkpoint", _checkpoints(saved)),
        ("goodput", _goodput(choice)),
        ("settings", " ".join(f"{name}={value}" for name, value in choice["settings"].items())),
        ("serving", _serving(choice["serving"], result["serving"]["tokens"])),
    ]
    return lines


def _loss(choice: dict[str, Any], unit: str) -> str:
    repeated = choice["repetition_costs"]
    share = f"; {repeated / (1 + repeated):.1%} of it for repetition" if repeated > LEAST_COST else ""
    return interval(choice["loss"], unit) + share


def _goodput(choice: dict[str, Any]) -> str:
    """Return which part of the time shown is training, and what the rest goes into, largest first."""
    parts = choice["hours_by_part"]
    hours = sum(parts.values())
    rest = sorted(((parts[name] / hours, words) for name, words in PARTS_IN_WORDS.items()), reverse=True)
    said = ", ".join(f"{words} {share:.1%}" for share, words in rest if share >= 0.0005)
    return f"{choice['checkpoint']['goodput']:.1%} of this time is training; {said}"


def _checkpoints(saved: dict[str, float]) -> str:
    failures = f"a failure every {significant(saved['mtbf_seconds'] / 3600)} h"
    if saved["interval_seconds"] / 3600 > saved["interval_hours"]:  # the interval, or the run where that is shorter
        return f"none needed for failures: Daly's interval is longer than the run ({failures})"
    return f"every {duration(saved['interval_seconds'])} by Daly's rule ({failures})"


def _serving(serving: dict[str, Any], tokens: float) -> str:
    usd = "" if serving["usd"] is None else f", ${significant(serving['usd'])}"
    return f"{significant(serving['device_hours'])} device-hours for {count(tokens)} tokens{usd}"
