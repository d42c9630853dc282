"""headwater plan --budget: which model to train for an amount of money or time, and how."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, print_json
from headwater.cli.terminal import card, duration, hours_interval, interval
from headwater.report.numbers import count, significant

TEXT, MODEL, DEVICES, LOSS = "Text and use", "Model", "Devices and prices", "Loss"
"Headings of the options in the help of `headwater plan`."
Run = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN] [a.b=c]...", help="A run whose text, vocabulary and family count.")
]


def search(
    what: Run = None,
    budget: Annotated[str, typer.Option(metavar="AMOUNT", help="Money ('$10k') or time (2h, 90min, 3d).")] = "",
    hardware: Annotated[
        str, typer.Option(metavar="NxDEVICE", help="Such as 8xH100; none: this machine.", rich_help_panel=DEVICES)
    ] = "",
    text_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="How much text there is, such as 40G.", rich_help_panel=TEXT)
    ] = "",
    bytes_per_token: Annotated[
        float | None, typer.Option(help="Of your tokenizer; none: a rule of thumb.", rich_help_panel=TEXT)
    ] = None,
    serve_tokens: Annotated[
        str,
        typer.Option(
            metavar="COUNT",
            help="Tokens the model will serve (1T); none: as many as it trains on.",
            rich_help_panel=TEXT,
        ),
    ] = "",
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Finished runs (params, tokens, loss) instead of published laws.", rich_help_panel=LOSS
        ),
    ] = None,
    final_share: Annotated[
        float | None, typer.Option(help="Part of the budget for the final run; 2/3 of money, all of time if none.")
    ] = None,
    family: Annotated[str, typer.Option(help="qwen3, llama or gpt2.", rich_help_panel=MODEL)] = "",
    vocab_size: Annotated[int | None, typer.Option(help="Token ids of the vocabulary.", rich_help_panel=MODEL)] = None,
    seq_len: Annotated[int | None, typer.Option(help="Tokens in a row.", rich_help_panel=MODEL)] = None,
    max_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What may be used of a device, such as 60G.", rich_help_panel=DEVICES)
    ] = "",
    precision: Annotated[
        str, typer.Option(help="bf16, fp8, or auto: whichever gives the lower loss.", rich_help_panel=DEVICES)
    ] = "auto",
    price: Annotated[
        str, typer.Option(help="reserved, on_demand or spot; the table's first if none.", rich_help_panel=DEVICES)
    ] = "",
    price_per_hour: Annotated[
        float | None, typer.Option(help="Dollars a device-hour, instead of the table's.", rich_help_panel=DEVICES)
    ] = None,
    site: Annotated[str, typer.Option(help="The site whose PUE counts.", rich_help_panel=DEVICES)] = "",
    hardware_table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A hardware table for ours.", rich_help_panel=DEVICES)
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A price table instead of ours.", rich_help_panel=DEVICES)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search size, tokens, layout, batch and checkpoints for a budget; say what each choice is good for."""
    from headwater.recipes.searching import search_budget
    from headwater.recipes.wishes import Wishes

    run, *overrides = what or [None]  # type: ignore[list-item]
    wishes = Wishes(
        budget=budget,
        run=run,
        overrides=tuple(overrides),
        hardware=hardware,
        text_bytes=text_bytes,
        bytes_per_token=bytes_per_token,
        serve_tokens=serve_tokens,
        runs=runs,
        final_share=final_share,
        family=family,
        vocab_size=vocab_size,
        seq_len=seq_len,
        max_memory=max_memory,
        precision=precision,
        price=price,
        price_per_hour=price_per_hour,
        site=site,
        hardware_table=hardware_table,
        prices=prices,
    )
    result = search_budget(wishes)
    print_json(result) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    card(f"plan · {result['name']} · {result['budget']['text']}", budget_card(result), sys.stdout)
    for choice in result["choices"]:
        card(" and ".join(choice["kinds"]), choice_card(choice, result), sys.stdout)


def budget_card(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    budget, searched, text = result["budget"], result["searched"], result["text"]
    final, programme = budget["final_run"], budget["programme"]
    rest = budget["ladder_and_failures"]
    lines = [("devices", f"{budget['num_devices']} × {budget['device']}")]
    if programme["usd"] is not None:
        lines.append(("price", f"${budget['usd_per_device_hour']:g} a device-hour: {budget['price_how']}"))
    lines.append(("final run", _cost(final)))
    if rest["hours"]:
        lines.append(("programme", f"{_cost(programme)}; a ladder and attempts that fail: {_cost(rest)}"))
        lines.append(("", budget["final_share_how"]))
    known = text["unique_tokens"]
    lines.append(("text", "no limit" if known is None else f"{count(known)} tokens: {text['how']}"))
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
            f"{choice['num_steps']:,} steps of {layout['batch_rows']} rows × {shape['seq_len']}"
            + (f", text read {choice['epochs']:.1f} times" if choice["epochs"] > 1 else ""),
        ),
        *([("loss", interval(choice["loss"], result["loss"]["unit"]))] if choice["loss"] else []),
        ("time", hours_interval(choice["hours"])),
        *([("money", f"${interval(choice['money'], '')}")] if choice["money"] else []),
        ("energy", interval(choice["energy_kwh"], "kWh")),
        ("memory", f"{interval(choice['memory_gib'], 'GiB')} of {significant(choice['memory_limit_gib'])} a device"),
        ("layout", choice["layout_how"]),
        (
            "",
            f"{layout['microbatch_rows']} rows a microbatch, {layout['num_microbatches']} a step; "
            f"{count(choice['tokens_per_second'])} tokens/s"
            + (f", MFU {choice['mfu']:.0%} of the {layout['precision']} peak" if choice["mfu"] else ""),
        ),
        ("checkpoint", f"{_checkpoints(saved)}; goodput {saved['goodput']:.1%}"),
        ("serving", _serving(choice["serving"], result["serving"]["tokens"])),
    ]
    return lines


def _checkpoints(saved: dict[str, float]) -> str:
    failures = f"a failure every {significant(saved['mtbf_seconds'] / 3600)} h"
    if saved["interval_seconds"] > 3600 * saved["interval_hours"]:
        return f"Daly's interval is longer than the run ({failures}); failures ask for none"
    return f"every {duration(saved['interval_seconds'])} by Daly's rule ({failures})"


def _serving(serving: dict[str, Any], tokens: float) -> str:
    usd = "" if serving["usd"] is None else f", ${significant(serving['usd'])}"
    return f"{significant(serving['device_hours'])} device-hours for {count(tokens)} tokens{usd}"
