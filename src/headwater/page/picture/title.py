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
from headwater.runs.run_data import RunData, points


def title(run: RunData) -> Block:
    """Return what the picture begins with: the result in a sentence, how far the run has come, and its figures."""
    (score, on), tokens, seconds = final_bits_per_byte(run), run.tokens_seen, seconds_trained(run)
    total, embedding = (amount(run.start, "parameters", name) for name in ("total", "embedding"))
    device, finish = table(run.start, "device"), run.last("finish")
    on_device = f" on {device['name']}" if device.get("name") else ""
    parts = [
        total and f"{count_in_words(total)} parameters",
        tokens and f"{count_in_words(tokens)} tokens{'' if run.is_finished else ' so far'}",
        score is not None and f"{decimal(score)} bits per byte on {on}",
        seconds is not None and tokens and f"in {duration(seconds)}{on_device}",
    ]
    known = ", ".join(part for part in parts if part)
    speed, (peak, curve) = median_of(run, "tokens_per_second"), utilisation(run)
    of_time = speed and f"{count(speed)} tokens per second (median){', under load' if finish.get('beside') else ''}"
    dtype = device.get("dtype") or "matrix products"
    of_peak = peak and f"of the largest possible speed, {flop_rate(peak)} in {dtype} (median)"
    planned = None if run.is_finished else amount(run.start, "num_tokens")
    per_parameter = f"{significant(tokens / total, 2)} per parameter" if tokens and total else ""
    of_tokens = "; ".join(filter(None, [f"of {count(planned)}" if planned else "", per_parameter]))
    beside = [mark("under", f"{name} {decimal(value)}") for name, value in baselines(run.evaluation).items()]
    memory = max((peak for _, peak in points(run.events("checkpoint"), "step", "peak_memory_bytes")), default=None)
    figures = [
        _figure("bits per byte", score, decimal, [f"{on}; lower is better", beside]),
        _figure("parameters", total, count, embedding and f"{count(embedding)} of them embedding"),
        _figure("tokens", tokens, count, of_tokens),
        _figure("training time", seconds, duration, of_time),
        _figure("utilisation", median_share(curve), percent, of_peak, no_utilisation(run)),
        *([_figure("memory", memory, size, peak_caption(run.start))] if memory else []),
        _figure("energy", amount(finish, "energy_wh"), watt_hours, finish.get("energy_how")),
    ]
    result = f"{known}." if known else "Nothing has been trained in this folder yet."
    return {"name": run.name, "result": result, "status": status(run), "figures": figures}


def status(run: RunData) -> str:
    """Return how far the run has come, and what its folder has lost."""
    lost = f"{run.damage}." if run.damage else ""
    return f"{_progress(run, lost)} {lost}".strip()


def _progress(run: RunData, lost: str) -> str:
    if run.is_finished:
        num_attempts = len(run.log.attempts)
        how = "in one attempt" if num_attempts == 1 else f"in {num_attempts} attempts"
        on = f", on {ranks_of(run.start)}" if table(run.start, "layout") else ""
        return f"Finished {moment(amount(run.last('finish'), 'time'))}, {how}{on}."
    step, num_steps = amount(run.last("step"), "step"), amount(run.start, "num_steps")
    if step is None:
        return "" if lost else "Not started yet: this page shows what there is so far."
    of = f" of {whole(num_steps)}" if num_steps else ""
    return f"Not finished: step {whole(step)}{of}. This page shows what there is so far."


def watt_hours(energy: float) -> str:
    return f"{significant(energy, 2)}\u00a0Wh"


def _figure(name: str, value: float | None, show: Callable[[float], str], note: Words, missing: str = MISSING) -> Block:
    """Return a figure with its name and a note; `value` is None while it isn't known."""
    said = missing if value is None else show(value)
    return {"name": name, "value": said, "is_known": value is not None, "note": note or None}
