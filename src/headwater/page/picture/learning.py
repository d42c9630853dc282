"""How it learned and ran: loss and bits per byte over tokens, beside the forecast; speed, time, energy, attempts."""

from __future__ import annotations

import re

from headwater.core.intervals import LEVEL
from headwater.core.numbers import (
    MISSING,
    count,
    count_in_words,
    decimal,
    duration,
    flop_rate,
    moment,
    number,
    percent,
    plural,
    significant,
    size,
    time_unit,
    times,
    whole,
)
from headwater.core.records import Object, Record, amount, table, text_scored
from headwater.page.picture.blocks import (
    Block,
    Words,
    card,
    data_table,
    fold,
    grid,
    mark,
    missing,
    section,
    text,
    time_bar,
)
from headwater.page.picture.charts_of_run import MARKS, STEP_CHARTS, drawn, forecast_band, overlaid, step_chart
from headwater.runs.measures import (
    baselines,
    bits_per_byte_curve,
    few_documents,
    few_targets,
    final_bits_per_byte,
    gradient_line,
    is_on_real_text,
    lines_since_base,
    median_of,
    median_share,
    no_utilisation,
    number_formats,
    quality_curve,
    ranks_of,
    repeated_text,
    seconds_trained,
    stage_seconds,
    time_split,
    utilisation,
)
from headwater.runs.outcome import Outcome, outcomes_of, show_error
from headwater.runs.run_data import Attempt, RunData
from headwater.tokens.skipped_rows import name_documents

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


MAX_SHOWN, MAX_EVENTS = 50, 40
FILLED = "the first timed step fills it."
EVENTS = {"start": "started", "stopped": "stopped", "finish": "finished"}
EVENTS |= {event: words for event, (words, _, _) in MARKS.items()}


def running(run: RunData, charts: dict[str, Block | None]) -> Block:
    speed = f"Tokens per second in each step; the median is {count(median_of(run, 'tokens_per_second'))}."
    titles = {name: STEP_CHARTS[name][0] for name in ("tokens_per_second", "grad_norm")} | {"lr": "Learning rate"}
    cards = {name: drawn(charts[name], name, title, FILLED) for name, title in titles.items()}
    if charts["tokens_per_second"]:
        cards["tokens_per_second"]["note"] = speed
    of_some = [drawn(charts[name], name, "", "") for name in ("memory", "reward", "kl_to_start") if charts[name]]
    first, *others = cards.values()
    parts = [grid([first, _utilisation(run), *others, *of_some]), _time(run), attempts(run), _events(run)]
    return section("running", "How it ran", parts, interventions(run))


def _utilisation(run: RunData) -> Block | None:
    peak, curve = utilisation(run)
    if not curve and no_utilisation(run) != MISSING:  # the figure at the top says why
        return None
    how = table(run.start, "device").get("peak_how") or "the largest rate of matrix products"
    note = f"Arithmetic of training; the median is {percent(median_share(curve))} of {flop_rate(peak)}, {how}."
    return drawn(step_chart("mfu", curve, note), "mfu", "Utilisation", FILLED)


def _time(run: RunData) -> list[Block]:
    split, stages, finish = time_split(run), stage_seconds(run), run.last("finish")
    note = f"{duration(sum(stages.values()))} of timed work, from the text to the report."
    cards = [card("Time of all stages", note, time_bar(stages))] if stages else []
    if split:
        energy, how = amount(finish, "energy_wh"), finish.get("energy_how")
        said = "not measured" if run.is_finished else MISSING
        if energy is not None:
            said = watt_hours(energy) + (f"; {how}" if how else "")
        whole_time = f"{duration(seconds_trained(run) or 0.0)} in all"
        cards.append(card("Time of training", f"{whole_time}. Energy: {said}.", time_bar(split)))
    return cards


def attempts(run: RunData) -> Block | None:
    """Return one row an attempt; steps past the checkpoint that the next one resumed from were recomputed."""
    in_order = list(run.log.attempts.values())
    if not in_order:
        return None
    rows, recomputed = list[list[Words]](), 0.0
    for attempt, following in zip(in_order, [*in_order[1:], None], strict=True):
        again = None
        if following is not None and following.resumed_at is not None:
            again = max(0.0, attempt.to_step - following.resumed_at)
            recomputed += again
        ends = [whole(attempt.from_step), whole(attempt.to_step), _ending(attempt, following is None), whole(again)]
        rows.append([f"attempt {attempt.name}", moment(attempt.began), *ends])
    heads = ["", "began", "from step", "to step", "how it ended", "steps recomputed"]
    if any(amount(attempt.start, "plan", "ranks") not in (None, 1) for attempt in in_order):
        heads = [*heads, "layout"]
        rows = [[*row, ranks_of(attempt.start)] for row, attempt in zip(rows, in_order, strict=True)]
    notes = " ".join(_notes(run, in_order, recomputed))
    return card("Attempts", notes, data_table(heads, rows, words=["how it ended", "layout"]))


def _notes(run: RunData, in_order: list[Attempt], num_recomputed: float) -> list[str]:
    # of all records: a later resume from an earlier step makes one void
    resumes, saves = sum(attempt.num_resumes for attempt in in_order), run.events("checkpoint")
    notes = []
    if resumes:
        again = f"; steps recomputed: {whole(num_recomputed)}" if num_recomputed else ""
        notes.append(f"Resumed {times(resumes)}{again}.")
    elif len(in_order) == 1:
        notes.append("One attempt, never interrupted." if run.is_finished else "One attempt so far.")
    if saves:
        last = saves[-1]
        where = f"step {whole(amount(last, 'step'))} ({size(amount(last, 'bytes'))})"
        notes.append(f"{plural(len(saves), 'checkpoint')}, the last at {where}.")
    bad = len(run.events("skipped"))
    if bad:
        notes.append(f"{plural(bad, 'step')} skipped: NaN or infinite loss or gradient, or an outlier.")
    error = gradient_line(run.last("finish"))
    return [*notes, f"{error[0].upper()}{error[1:]}."] if error else notes


def _ending(attempt: Attempt, is_last: bool) -> str:
    if attempt.ending.get("event") == "stopped":
        return f"stopped by {attempt.ending.get('signal') or 'a signal'}, after a save"
    if attempt.ending:
        return "finished"
    return "still running, or killed" if is_last else "killed, or the machine stopped"


def _events(run: RunData) -> Block | None:
    """Return what happened besides steps and measurements, the latest first."""
    found = [record for event in EVENTS for record in run.events(event)]
    found.sort(key=lambda record: (amount(record, "attempt") or 0, amount(record, "time") or 0), reverse=True)
    rows = [
        [whole(record["step"]), EVENTS[record["event"]], when.replace(" UTC", f":{int(at) % 60:02d} UTC"), _how(record)]
        for record in found[:MAX_EVENTS]
        if (when := moment(at := amount(record, "time") or 0.0))
    ]
    heads = ["step", "what", "when", "how"]
    return fold("Events", "the latest first", data_table(heads, rows, words=heads[1:])) if rows else None


def _how(record: Record) -> str:
    if record["event"] == "checkpoint":
        return f"{size(amount(record, 'bytes'))} in {significant(amount(record, 'seconds') or 0.0)} s"
    parts = [str(record[name]) for name in ("reason", "signal") if record.get(name)]
    return "; ".join([*parts, *_documents(table(record, "documents"))])


def _documents(documents: Object) -> list[str]:
    """Return the words of a record's documents; nothing where they aren't named as they should be."""
    listed = documents.get("listed") or [0]
    is_named = isinstance(listed, list) and all(isinstance(each, list) and len(each) == 2 for each in listed)
    return [name_documents(documents)] if is_named and isinstance(documents.get("count"), int) else []


def interventions(run: RunData) -> Block | None:
    """Return a table of the skipped steps and of the rollbacks; nothing where there were none."""
    rows = list[list[Words]]()
    for entry in run.interventions[-MAX_SHOWN:]:
        at, is_rollback = whole(amount(entry, "from_step")), entry.get("kind") == "rollback"
        rows.append([
            "rollback" if is_rollback else "step skipped",
            f"{at}, back to {whole(amount(entry, 'to_step'))}" if is_rollback else at,
            f"{whole(amount(entry, 'first_row'))} to {whole(amount(entry, 'last_row'))}",
            str(entry.get("reason") or "–"),
            "".join(_documents(table(entry, "documents"))) or "–",
        ])  # fmt: skip
    if not rows:
        return None
    num_entries = len(run.interventions)
    shown = f", the last {MAX_SHOWN} shown" if num_entries > MAX_SHOWN else ""
    note = (
        f"Skipped steps, and sequences excluded after a rollback: {num_entries} in all{shown}. "
        "`headwater train RUN --replay` repeats the run from this log."
    )
    heads = ["what", "at step", "sequences", "reason", "documents"]
    return card("Interventions", note, data_table(heads, rows, words=heads[3:]))


def watt_hours(energy: float) -> str:
    return f"{significant(energy, 2)}\u00a0Wh"
