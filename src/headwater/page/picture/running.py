"""How the run went: speed, utilisation, gradients, where time and energy went, and every attempt to train it."""

from __future__ import annotations

from headwater.core.numbers import (
    MISSING,
    count,
    duration,
    flop_rate,
    moment,
    percent,
    plural,
    significant,
    size,
    times,
    whole,
)
from headwater.core.records import Object, Record, amount, table
from headwater.page.picture.blocks import Block, Words, card, data_table, fold, grid, section, time_bar
from headwater.page.picture.of_run import MARKS, STEP_CHARTS, drawn, step_chart
from headwater.runs.measures import (
    gradient_line,
    median_of,
    median_share,
    no_utilisation,
    ranks_of,
    seconds_lost,
    seconds_trained,
    stage_seconds,
    time_lost,
    time_split,
    utilisation,
)
from headwater.runs.run_data import Attempt, RunData
from headwater.tokens.skipped_rows import name_documents

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
        whole_time = f"{duration(seconds_trained(run) or 0.0)} in all{time_lost(seconds_lost(run))}"
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
