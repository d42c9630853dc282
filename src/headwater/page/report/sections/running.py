"""How the run went: speed, utilisation, gradients, where time and energy went, and every attempt to train it."""

from __future__ import annotations

from headwater.core.numbers import (
    MISSING,
    count,
    duration,
    flop_rate,
    moment,
    number,
    percent,
    plural,
    significant,
    size,
    times,
    whole,
)
from headwater.core.records import Record, amount, table
from headwater.page.charts.chart import time_bar
from headwater.page.charts.markup import Child, Html, card, data_table, section, tag
from headwater.page.charts.of_run import STEP_CHARTS, Chart, card_of, step_chart
from headwater.runs.measures import (
    audit_line,
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
from headwater.runs.run_data import RunData
from headwater.tokens.skipped_rows import name_documents

MAX_SHOWN = 50
FILLED = "the first timed step fills it."


def running(run: RunData, charts: dict[str, Chart | None]) -> Html:
    speed = f"Tokens per second in each step; the median is {count(median_of(run, 'tokens_per_second'))}."
    cards = [
        card_of(charts["tokens_per_second"], STEP_CHARTS["tokens_per_second"][0], FILLED, speed),
        _utilisation(run),
        card_of(charts["grad_norm"], STEP_CHARTS["grad_norm"][0], FILLED),
        card_of(charts["lr"], "Learning rate", FILLED),
        memory.card() if (memory := charts["memory"]) else None,
    ]
    grid = tag("div", cards, class_="grid")
    return section("How it ran", "running", grid, _time(run), attempts(run), interventions(run))


def _utilisation(run: RunData) -> Html | None:
    peak, curve = utilisation(run)
    if not curve and no_utilisation(run) != MISSING:  # the figure at the top says why
        return None
    how = table(run.start, "device").get("peak_how") or "the largest rate of matrix products"
    note = f"Arithmetic of training; the median is {percent(median_share(curve))} of {flop_rate(peak)}, {how}."
    return card_of(step_chart("mfu", curve, note), "Utilisation", FILLED)


def _time(run: RunData) -> list[Child]:
    split, stages = time_split(run), stage_seconds(run)
    note = f"{duration(sum(stages.values()))} of timed work, from the text to the report."
    cards: list[Child] = [card("Time of all stages", note, time_bar(stages))] if stages else []
    if split:
        whole = f"{duration(seconds_trained(run) or 0.0)} in all{time_lost(seconds_lost(run))}"
        cards.append(card("Time of training", f"{whole}. {_energy(run)}", time_bar(split)))
    return cards


def _energy(run: RunData) -> str:
    finish = run.last("finish")
    energy = amount(finish, "energy_wh")
    if energy is None:
        return "Energy: not measured yet." if not run.is_finished else "Energy: not measured."
    how = finish.get("energy_how")
    return f"Energy: {significant(energy, 2)}\u00a0Wh" + (f"; {how}." if how else ".")


def attempts(run: RunData) -> Child:
    """Return one row an attempt; steps past the checkpoint that the next one resumed from were recomputed."""
    groups: dict[str, list[Record]] = {}
    for record in run.all_records:
        groups.setdefault(str(record.get("attempt", "–")), []).append(record)
    if not groups:
        return None
    in_order, rows, recomputed = list(groups.values()), list[list[Child]](), 0.0
    for records, following in zip(in_order, [*in_order[1:], None], strict=True):
        steps = [step for record in records if (step := amount(record, "step")) is not None]
        reached, resumed_at = max(steps, default=None), _began_at(following or [])
        again = None if reached is None or resumed_at is None else max(0.0, reached - resumed_at)
        recomputed += again or 0.0
        name, began = f"attempt {records[0].get('attempt', '–')}", moment(number(records[0].get("time")))
        ends = [whole(steps[0] if steps else None), whole(reached), _ending(records, following is None), whole(again)]
        rows.append([name, began, *ends])
    heads = ["", "began", "from step", "to step", "how it ended", "steps recomputed"]
    starts = [next((each for each in records if each.get("event") == "start"), {}) for records in in_order]
    if any(amount(start, "plan", "ranks") not in (None, 1) for start in starts):
        heads, rows = [*heads, "layout"], [[*row, ranks_of(start)] for row, start in zip(rows, starts, strict=True)]
    notes = _notes(run, len(in_order), recomputed)
    return card("Attempts", " ".join(notes), data_table(heads, rows, words=["how it ended", "layout"]))


def _notes(run: RunData, num_attempts: int, num_recomputed: float) -> list[str]:
    # of all records: a later resume from an earlier step makes one void
    resumes, saves = sum(each.get("event") == "resume" for each in run.all_records), run.events("checkpoint")
    notes = []
    if resumes:
        again = f"; steps recomputed: {whole(num_recomputed)}" if num_recomputed else ""
        notes.append(f"Resumed {times(resumes)}{again}.")
    elif num_attempts == 1:
        notes.append("One attempt, never interrupted." if run.is_finished else "One attempt so far.")
    if saves:
        last = saves[-1]
        where = f"step {whole(amount(last, 'step'))} ({size(amount(last, 'bytes'))})"
        notes.append(f"{plural(len(saves), 'checkpoint')}, the last at {where}.")
    bad = len(run.events("skipped"))
    if bad:
        notes.append(f"{plural(bad, 'step')} skipped: NaN or infinite loss or gradient, or an outlier.")
    audits = audit_line(run.last("finish"))
    return [*notes, f"{audits[0].upper()}{audits[1:]}."] if audits else notes


def _began_at(records: list[Record]) -> float | None:
    return next((amount(record, "step") for record in records if record.get("event") in ("resume", "start")), None)


def _ending(records: list[Record], is_last: bool) -> str:
    for record in reversed(records):
        if record.get("event") == "stopped":
            return f"stopped by {record.get('signal') or 'a signal'}, after a save"
        if record.get("event") == "finish":
            return "finished"
    return "still running, or killed" if is_last else "killed, or the machine stopped"


def interventions(run: RunData) -> Child:
    """Return a table of the skipped steps and of the rollbacks; nothing where there were none."""
    entries = run.interventions
    if not entries:
        return None
    shown = f", the last {MAX_SHOWN} shown" if len(entries) > MAX_SHOWN else ""
    note = (
        f"Skipped steps, and sequences excluded after a rollback: {len(entries)} in all{shown}. "
        "`headwater train RUN --replay` repeats the run from this log."
    )
    heads = ["what", "at step", "sequences", "reason", "documents"]
    rows = [_intervention(entry) for entry in entries[-MAX_SHOWN:]]
    return card("Interventions", note, data_table(heads, rows, words=heads[3:]))


def _intervention(entry: Record) -> list[Child]:
    at = whole(amount(entry, "from_step"))
    is_rollback = entry.get("kind") == "rollback"
    documents = table(entry, "documents")
    is_whole = isinstance(documents.get("count"), int) and all(map(_is_named, documents.get("listed") or [0]))
    return [
        "rollback" if is_rollback else "step skipped",
        f"{at}, back to {whole(amount(entry, 'to_step'))}" if is_rollback else at,
        f"{whole(amount(entry, 'first_row'))} to {whole(amount(entry, 'last_row'))}",
        str(entry.get("reason") or "–"),
        name_documents(documents) if is_whole else "–",
    ]


def _is_named(document: object) -> bool:
    return isinstance(document, list) and len(document) == 2
