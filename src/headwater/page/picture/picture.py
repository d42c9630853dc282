"""The picture of a run: all that report and live page show of it, as plain values; what isn't known yet is absent."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headwater.core.numbers import (
    MISSING,
    count,
    count_in_words,
    decimal,
    duration,
    flop_rate,
    moment,
    percent,
    plural,
    setting,
    significant,
    size,
    whole,
)
from headwater.core.records import Object, amount, entries, table
from headwater.page.picture.blocks import (
    Block,
    Words,
    card,
    data_table,
    fold,
    items,
    mark,
    missing,
    section,
    shown,
    text,
)
from headwater.page.picture.charts_of_run import peak_caption, run_charts
from headwater.page.picture.corpus import corpus
from headwater.page.picture.learning import forecast, learning, running, watt_hours
from headwater.page.picture.probes import knowledge, probes, samples
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


def picture_of(run: RunData, between: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return the picture of a run: name, result, status, figures, and sections of blocks.

    Its charts of steps hold those `between` two amounts of tokens, if given.
    """
    if not run.is_finished and _is_older(run):
        run = replace(run, evaluation={})
    charts = run_charts(run, between)
    parts: list[Block | None] = [corpus(run), learning(run, charts), probes(run), samples(run), knowledge(run)]
    parts += [running(run, charts), forecast(run, charts), settings(run), next_steps(run)]
    return shown({**title(run), "sections": [part for part in parts if part]})


def _is_older(run: RunData) -> bool:
    """Return whether the evaluation is of the shorter run that this one was."""
    try:
        evaluated_at = (run.folder / "evaluation.json").stat().st_mtime
    except OSError:
        return False
    return evaluated_at < max((attempt.ended or 0.0 for attempt in run.log.attempts.values()), default=0.0)


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


def _figure(name: str, value: float | None, show: Callable[[float], str], note: Words, missing: str = MISSING) -> Block:
    """Return a figure with its name and a note; `value` is None while it isn't known."""
    said = missing if value is None else show(value)
    return {"name": name, "value": said, "is_known": value is not None, "note": note or None}


_ORIGINS = {"user": "set by the user", "recipe": "from a recipe", "rule": "computed by a rule", "default": "default"}


def settings(run: RunData) -> Block:
    reasons = entries(run.config, "reasons")
    parts: list[Block] = [missing("Not known yet: the run has no config.json.")]
    if reasons:
        chosen = [reason for reason in reasons if reason.get("origin") != "default"]
        defaults = [reason for reason in reasons if reason.get("origin") == "default"]
        parts = [text("lead", _lead(reasons)), *([card(None, None, _table(chosen))] if chosen else [])]
        if defaults:
            parts.append(fold("Left at their defaults", plural(len(defaults), "setting"), _table(defaults)))
    return section("settings", "Settings and their reasons", parts, _inputs(run), link="Settings")


def _lead(reasons: list[Object]) -> str:
    counts = Counter(str(reason.get("origin", "")) for reason in reasons)
    known = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
    return f"{len(reasons)} settings: {', '.join(known)}."


def _table(reasons: list[Object]) -> Block:
    rows = []
    for reason in reasons:
        origin, where, why = (str(reason.get(name) or "") for name in ("origin", "where", "why"))
        is_needed = where and where not in why and origin != "rule"  # a rule's place is in this program
        badge = mark(f"badge {origin if origin in _ORIGINS else 'other'}", origin)
        place = mark("where", where) if is_needed else None
        rows.append([mark("code", str(reason.get("setting", ""))), _shown(reason.get("value")), badge, [why, place]])
    heads = ["setting", "value", "origin", "why"]
    return data_table(heads, rows, words=heads[1:])


def _shown(value: Any) -> Block:
    words = setting(value)
    return mark("code", words if len(words) <= 400 else words[:400] + " …")


def _inputs(run: RunData) -> Block | None:
    """Return what names the inputs exactly, so that a result can be traced and repeated."""
    named = [("corpus", run.corpus), ("tokenizer", run.tokenizer), ("tokens", run.tokens)]
    facts = [(name, manifest.get("digest")) for name, manifest in named if manifest.get("digest")]
    facts += [(name.replace("_", " "), value) for name, value in table(run.start, "device").items()]
    if layout := table(run.start, "layout"):
        facts += [("layout", ranks_of(run.start)), ("why that layout", layout.get("why") or "–")]
    if not facts:
        return None
    rows = [[name, _shown(value)] for name, value in facts]
    body = data_table(["what", "value"], rows, words=["value"])
    return fold("Data and device", "digests of the inputs, and the machine", body)


def next_steps(run: RunData) -> Block:
    runs_dir = table(run.config, "settings").get("runs_dir")
    folder = shlex.quote(f"{runs_dir if isinstance(runs_dir, str) else 'runs'}/{run.name}")
    first, second, *_ = map(shlex.quote, run.prompts)
    commands = [
        (f"headwater next {first} --run {folder}", "the likeliest next tokens of a prompt"),
        (f"headwater generate {second} --run {folder}", "continue a text"),
        (f'headwater surprise "The sun rises in the west." --run {folder}', "which tokens of a text it finds unlikely"),
        (f"headwater evaluate {folder}", "bits per byte by source, probes and baselines"),
        (f'headwater corpus trace {folder} "the sun"', "which documents hold a text: has it memorised this?"),
        (f"headwater export {folder}", "a folder that transformers, vLLM and TRL open"),
    ]
    sources = table(table(run.config, "settings"), "corpus").get("sources")
    kinds = (
        [each.get("kind") for each in sources.values() if isinstance(each, dict)] if isinstance(sources, dict) else []
    )
    if "conversations" in kinds:
        commands.insert(0, (f"headwater chat --run {folder}", "talk to it"))
    if not run.is_finished:
        commands.insert(0, ("headwater run RUN.toml", "resume where it stopped"))
    found = [[mark("code", command), mark("", what)] for command, what in commands]
    return section("next", "Try it", items("commands card", found))
