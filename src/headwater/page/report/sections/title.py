"""The head of the page: the result in one sentence, and the figures that matter first."""

from __future__ import annotations

from collections.abc import Callable

from headwater.core.numbers import (
    MISSING,
    count,
    count_in_words,
    decimal,
    duration,
    flop_rate,
    moment,
    percent,
    significant,
    whole,
)
from headwater.core.records import amount, table
from headwater.page.charts.markup import Child, Html, render, tag
from headwater.runs.measures import (
    baselines,
    final_bits_per_byte,
    median_of,
    median_share,
    no_utilisation,
    ranks_of,
    seconds_trained,
    utilisation,
)
from headwater.runs.run_data import RunData


def title(run: RunData) -> Html:
    hero = tag(
        "header",
        tag("p", "headwater · report of a pre-training run", class_="kicker"),
        tag("h1", run.name),
        tag("p", sentence(run), class_="result"),
        tag("p", status(run), class_="status"),
        class_="hero",
    )
    return render([hero, tag("dl", _tiles(run), class_="tiles")])


def sentence(run: RunData) -> str:
    """Return the run's result in one sentence, of what is known by now."""
    parameters = amount(run.start, "parameters", "total")
    score, on = final_bits_per_byte(run)
    seconds = seconds_trained(run)
    device = table(run.start, "device").get("name")
    parts = [
        parameters and f"{count_in_words(parameters)} parameters",
        run.tokens_seen and f"{count_in_words(run.tokens_seen)} tokens{'' if run.is_finished else ' so far'}",
        score is not None and f"{decimal(score)} bits per byte on {on}",
        seconds is not None and run.tokens_seen and f"in {duration(seconds)}" + (f" on {device}" if device else ""),
    ]
    known = [part for part in parts if part]
    return ", ".join(known) + "." if known else "Nothing has been trained in this folder yet."


def status(run: RunData) -> str:
    if run.is_finished:
        num_attempts = len({str(record.get("attempt")) for record in run.all_records})
        how = "in one attempt" if num_attempts == 1 else f"in {num_attempts} attempts"
        on = f", on {ranks_of(run.start)}" if table(run.start, "layout") else ""
        return f"Finished {moment(amount(run.last('finish'), 'time'))}, {how}{on}."
    step, num_steps = amount(run.last("step"), "step"), amount(run.start, "num_steps")
    if step is None:
        return "Not started yet: this page shows what there is so far."
    of = f" of {whole(num_steps)}" if num_steps else ""
    return f"Not finished: step {whole(step)}{of}. This page shows what there is so far."


def _tiles(run: RunData) -> list[Html]:
    score, on = final_bits_per_byte(run)
    levels = baselines(run.evaluation).items()
    beside = [tag("span", f"{name} {decimal(value)}", class_="under") for name, value in levels]
    total, embedding = (amount(run.start, "parameters", name) for name in ("total", "embedding"))
    tokens, seconds, speed = run.tokens_seen, seconds_trained(run), median_of(run, "tokens_per_second")
    peak, curve = utilisation(run)
    dtype = table(run.start, "device").get("dtype") or "matrix products"
    under_load = ", under load" if run.last("finish").get("beside") else ""
    energy = amount(run.last("finish"), "energy_wh")
    of_peak = peak and f"of the largest possible speed, {flop_rate(peak)} in {dtype} (median)"
    return [
        _tile("bits per byte", score, decimal, [f"{on}; lower is better", beside]),
        _tile("parameters", total, count, embedding and f"{count(embedding)} of them embedding"),
        _tile("tokens", tokens, count, tokens and total and f"{significant(tokens / total, 2)} per parameter"),
        _tile("training time", seconds, duration, speed and f"{count(speed)} tokens per second (median){under_load}"),
        _tile("utilisation", median_share(curve), percent, of_peak, no_utilisation(run)),
        _tile("energy", energy, _watt_hours, run.last("finish").get("energy_how")),
    ]


def _watt_hours(energy: float) -> str:
    return f"{significant(energy, 2)}\u00a0Wh"


def _tile(name: str, value: float | None, show: Callable[[float], str], note: Child, missing: str = MISSING) -> Html:
    """Return a figure with its name and a note under it; `value` is None while it isn't known."""
    shown = tag("dd", show(value)) if value is not None else tag("dd", missing, class_="missing")
    return tag("div", tag("dt", name), shown, tag("dd", note or None, class_="note"), class_="tile")
