"""How it learned: loss over tokens, and bits per byte on held-out text against simpler models and by source."""

from __future__ import annotations

import re

from headwater.core.intervals import LEVEL
from headwater.core.numbers import count, count_in_words, decimal, number, percent, significant, size, time_unit, whole
from headwater.core.records import Object, amount, table, text_scored
from headwater.page.picture.blocks import Block, Words, card, data_table, fold, grid, mark, missing, section, text
from headwater.page.picture.of_run import drawn, forecast_band, overlaid
from headwater.runs.measures import (
    baselines,
    bits_per_byte_curve,
    few_documents,
    few_targets,
    final_bits_per_byte,
    is_on_real_text,
    lines_since_base,
    number_formats,
    quality_curve,
    repeated_text,
)
from headwater.runs.outcome import Outcome, outcomes_of, show_error
from headwater.runs.run_data import RunData

_PROSE = {"5-gram": "a 5-gram model"}
CHANGE = "from the base to now"
NO_VALIDATION = "the first validation fills it, after `train.validate_every` steps."


def learning(run: RunData, charts: dict[str, Block | None]) -> Block:
    cards = [_against_baselines(run), _by_source(run) if len(run.sources) != 1 else None]
    loss = drawn(charts["loss"], "loss", "Loss", "the first steps fill it.")
    parts = [_lead(run), _since_base(run), loss, grid(cards), _measurements(run)]
    return section("learning", "How it learned", parts)


def _lead(run: RunData) -> Block | None:
    score, on = final_bits_per_byte(run)
    if score is None:
        return None
    relations = [
        f"{percent(abs(score / value - 1), 0)} {'less' if score < value else 'more'} than {_PROSE.get(name, name)} "
        f"({decimal(value)})"
        for name, value in baselines(run.evaluation).items()
    ]
    beside = f": {', '.join(relations)}" if relations else ""
    read = _what_baselines_read(table(run.evaluation, "baseline_sample")) if relations else ""
    warnings = filter(None, (few_documents(run.evaluation), repeated_text(run.evaluation), few_targets(run.evaluation)))
    few = "".join(f" {warning.capitalize()}." for warning in warnings)
    formats = "; ".join(f"{name}: {value}" for name, value in number_formats(run).items()).capitalize()
    said = f"A byte of {on} costs the model {decimal(score)} bits{beside}.{read}{few}"
    return text("lead", f"{said} {formats}." if formats else said)


def _since_base(run: RunData) -> Block | None:
    """Return what was learned of the new text and forgotten of the old; None for a run without a base."""
    lines = lines_since_base(run)
    note = "Before the first step, and at the last validation and probe."
    if (share := amount(run.config, "settings", "replay", "share")) is not None:
        note += f" Old text is the base's own, {percent(share, 0)} of what this run read."
    return card("New and old text", note, data_table(["", CHANGE], map(list, lines), words=[CHANGE])) if lines else None


def _what_baselines_read(read: Object) -> str:
    """Return how much text the baselines read: bounded, whatever the corpus."""
    counted, tokens, scored, whole_text = (
        amount(read, name) for name in ("counted_tokens", "of_tokens", "scored_bytes", "of_bytes")
    )
    if counted is None or tokens is None or scored is None or whole_text is None:
        return ""
    of_all = count_in_words(tokens)
    read_of = f"all {of_all}" if counted >= tokens else f"{count_in_words(counted)} of {of_all}"
    said = f" The 5-gram model counts {read_of} training tokens."
    if scored >= whole_text:
        return said
    return f"{said} Both score a sample of the held-out text, {size(scored)} of {size(whole_text)}."


def _against_baselines(run: RunData) -> Block:
    """Return validations, which may score a sample, and as levels the final scores of the model and of simpler ones."""
    is_real, found = is_on_real_text(run), sorted(baselines(run.evaluation).items(), key=lambda item: item[1])
    levels = [(name, value, f"baseline-{index % 2 + 1}") for index, (name, value) in enumerate(found)]
    if run.evaluation and (score := final_bits_per_byte(run)[0]) is not None:
        levels.append(("this model, final", score, "series-1"))
    heading = f"Bits per byte on {'real' if is_real else 'held-out'} text"
    real = "held-out text without the almanac" if is_real else "held-out text"
    beside = "Dashed: the final evaluation, of all of it." if levels else "No baseline is measured yet."
    named = {f"{name} {decimal(value)}": (value, color) for name, value, color in levels}
    curves, note = {"this model": quality_curve(run)}, f"{_scored(run, real)}; lower is better. {beside}"
    chart = overlaid(heading, note, curves, "bits per byte", levels=named)
    return drawn(chart, "quality", heading, NO_VALIDATION)


def _scored(run: RunData, of: str = "held-out text") -> str:
    words = text_scored(run.last("validation"), of)
    return words[0].upper() + words[1:]


def _by_source(run: RunData) -> Block:
    title, curves = "Bits per byte by source", {name: bits_per_byte_curve(run, name) for name in run.sources}
    chart = overlaid(title, f"{_scored(run)} of each source.", curves, "bits per byte")
    return drawn(chart, "by_source", title, NO_VALIDATION)


def _measurements(run: RunData) -> Block | None:
    """Return the validation figures as a table, for exact values and for those who can't see the charts."""
    records = run.events("validation")
    if not records:
        return None
    measured = {name for record in records for name in table(record, "bits_per_byte")}
    names = [name for name in ["all", *run.sources] if name in measured]
    names = names if len(names) != 2 else names[1:]  # of one source alone
    rows: list[list[Words]] = [
        [
            whole(amount(record, "step")),
            count(amount(record, "tokens_seen")),
            *(decimal(amount(record, "bits_per_byte", name), 4) for name in names),
        ]
        for record in records
    ]
    scores = table(run.evaluation, "bits_per_byte")
    if scores:  # of all held-out text, where validations may take a sample
        rows.append(["at the end", "all text", *(decimal(number(scores.get(name)), 4) for name in names)])
    return fold("Every validation", "in bits per byte of held-out text", data_table(["step", "tokens", *names], rows))


_NO_FORECAST = (
    "No forecast of the run as it is: one is made before a run's first step, and removed when the run resumes with "
    "other settings, as with more steps. `headwater plan RUN` shows what it would be."
)


def forecast(run: RunData, charts: dict[str, Block | None]) -> Block:
    found = outcomes_of(run)
    parts: list[Block] = [missing(_NO_FORECAST)]
    if found:
        parts = [text("lead", *_forecast_lead(run, {outcome.quantity: outcome for outcome in found})), _table(found)]
        if forecast_band(run.forecast):
            title = "Loss on held-out text, and its forecast"
            parts.append(drawn(charts["held_out"], "held_out", title, "the first validation fills it."))
    return section("forecast", "Forecast and actual values", parts, link="Forecast")


def _forecast_lead(run: RunData, named: dict[str, Outcome]) -> list[Words]:
    made_at = run.forecast.get("made_at")
    when = str(made_at).replace("T", " ").replace("+00:00", " UTC")
    by = f"Made {when}, before the first step. " if made_at else ""
    refused = run.forecast.get("loss_refused")
    why = refused if isinstance(refused, str) else "no table of runs was given"
    without_loss = "" if named.keys() & {"held-out loss", "new text"} else f" The loss was not forecast: {why}."
    lead = (
        f"{by}An actual value should fall between P10 and P90 in {percent(LEVEL, 0)} of cases. "
        f"Training is without preparation and evaluation.{without_loss}"
    )
    parts = re.split(r"(--\w[\w-]*)", lead)
    return [mark("option", part) if part.startswith("--") else part for part in parts]


def _table(found: list[Outcome]) -> Block:
    heads = ["", "P10", "P50", "P90", "actual", "unit", "off by", "in the band", "actual value of"]
    return card(None, None, data_table(heads, [_row(outcome) for outcome in found], words=heads[-1:]))


def _row(outcome: Outcome) -> list[Words]:
    actual, off = outcome.fact, None
    if outcome.error is not None:
        off = show_error(outcome.error).replace("-", "−").replace("%", "\u00a0%").replace("× ", "×\u00a0")
    unit, scale = time_unit(outcome.p50) if outcome.unit == "seconds" else (outcome.unit, 1.0)
    verdict = outcome.verdict if outcome.is_counted else ""
    return [
        outcome.quantity,
        *(significant(value / scale, 4) for value in (outcome.p10, outcome.p50, outcome.p90)),
        mark("b", significant(actual / scale, 4)) if actual is not None else "not known",
        unit,
        off,
        mark(f"badge {verdict.split(',')[0].replace(' ', '-')}", verdict) if verdict else None,
        outcome.how,
    ]
