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
    size,
    whole,
)
from headwater.core.records import amount, table
from headwater.page.picture.blocks import Block, Words, mark
from headwater.page.picture.of_run import peak_caption
from headwater.runs.curves import points
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


def title(run: RunData) -> Block:
    """Return what the picture begins with: the result, how far the run has come, and its figures."""
    return {"name": run.name, "result": sentence(run), "status": status(run), "figures": _figures(run)}


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
        num_attempts = len(run.log.attempts)
        how = "in one attempt" if num_attempts == 1 else f"in {num_attempts} attempts"
        on = f", on {ranks_of(run.start)}" if table(run.start, "layout") else ""
        return f"Finished {moment(amount(run.last('finish'), 'time'))}, {how}{on}."
    step, num_steps = amount(run.last("step"), "step"), amount(run.start, "num_steps")
    if step is None:
        return "Not started yet: this page shows what there is so far."
    of = f" of {whole(num_steps)}" if num_steps else ""
    return f"Not finished: step {whole(step)}{of}. This page shows what there is so far."


def _figures(run: RunData) -> list[Block]:
    score, on = final_bits_per_byte(run)
    levels = baselines(run.evaluation).items()
    beside = [mark("under", f"{name} {decimal(value)}") for name, value in levels]
    total, embedding = (amount(run.start, "parameters", name) for name in ("total", "embedding"))
    tokens, seconds, speed = run.tokens_seen, seconds_trained(run), median_of(run, "tokens_per_second")
    peak, curve = utilisation(run)
    dtype = table(run.start, "device").get("dtype") or "matrix products"
    under_load = ", under load" if run.last("finish").get("beside") else ""
    energy, planned = amount(run.last("finish"), "energy_wh"), amount(run.start, "num_tokens")
    of_peak = peak and f"of the largest possible speed, {flop_rate(peak)} in {dtype} (median)"
    of_tokens = [
        f"of {count(planned)}" if planned and not run.is_finished else "",
        f"{significant(tokens / total, 2)} per parameter" if tokens and total else "",
    ]
    memory = max((peak for _, peak in points(run.events("checkpoint"), "step", "peak_memory_bytes")), default=None)
    return [
        _figure("bits per byte", score, decimal, [f"{on}; lower is better", beside]),
        _figure("parameters", total, count, embedding and f"{count(embedding)} of them embedding"),
        _figure("tokens", tokens, count, "; ".join(filter(None, of_tokens))),
        _figure("training time", seconds, duration, speed and f"{count(speed)} tokens per second (median){under_load}"),
        _figure("utilisation", median_share(curve), percent, of_peak, no_utilisation(run)),
        *([_figure("memory", memory, size, peak_caption(run.start))] if memory else []),
        _figure("energy", energy, _watt_hours, run.last("finish").get("energy_how")),
    ]


def _watt_hours(energy: float) -> str:
    return f"{significant(energy, 2)}\u00a0Wh"


def _figure(name: str, value: float | None, show: Callable[[float], str], note: Words, missing: str = MISSING) -> Block:
    """Return a figure with its name and a note; `value` is None while it isn't known."""
    said = missing if value is None else show(value)
    return {"name": name, "value": said, "is_known": value is not None, "note": note or None}
