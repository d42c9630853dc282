"""Every attempt to train the run: where it began, how it ended, its ranks, what it recomputed and skipped."""

from __future__ import annotations

from headwater.charts.markup import Child, card, data_table
from headwater.interventions import name_documents
from headwater.numbers import moment, number, plural, size, times, whole
from headwater.records import Record, amount, table
from headwater.report.measures import audit_line, ranks_of
from headwater.report.run_data import RunData

MAX_SHOWN = 50


def attempts(run: RunData) -> Child:
    """Return one row an attempt; steps past the checkpoint that the next one resumed from were recomputed."""
    groups: dict[str, list[Record]] = {}
    for record in run.all_records:
        groups.setdefault(str(record.get("attempt", "–")), []).append(record)
    if not groups:
        return None
    in_order = list(groups.values())
    followers: list[list[Record] | None] = [*in_order[1:], None]
    pairs = list(zip(in_order, followers, strict=True))
    recomputed = [_recomputed(records, following) for records, following in pairs]
    rows = [[*_row(*pair), whole(num_steps)] for pair, num_steps in zip(pairs, recomputed, strict=True)]
    heads = ["", "began", "from step", "to step", "how it ended", "steps recomputed"]
    starts = [next((each for each in records if each.get("event") == "start"), {}) for records in in_order]
    if any(amount(start, "plan", "ranks") not in (None, 1) for start in starts):
        heads, rows = [*heads, "layout"], [[*row, ranks_of(start)] for row, start in zip(rows, starts, strict=True)]
    notes = _notes(run, len(in_order), sum(filter(None, recomputed)))
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


def _row(records: list[Record], following: list[Record] | None) -> list[Child]:
    steps = _steps(records)
    return [
        f"attempt {records[0].get('attempt', '–')}",
        moment(number(records[0].get("time"))),
        whole(steps[0] if steps else None),
        whole(max(steps, default=None)),
        _ending(records, following),
    ]


def _steps(records: list[Record]) -> list[float]:
    return [step for record in records if (step := amount(record, "step")) is not None]


def _recomputed(records: list[Record], following: list[Record] | None) -> float | None:
    reached, resumed_at = max(_steps(records), default=None), _resumed_at(following)
    return max(0.0, reached - resumed_at) if resumed_at is not None and reached is not None else None


def _resumed_at(records: list[Record] | None) -> float | None:
    begins = [record for record in records or [] if record.get("event") in ("resume", "start")]
    return amount(begins[0], "step") if begins else None


def _ending(records: list[Record], following: list[Record] | None) -> str:
    for record in reversed(records):
        if record.get("event") == "stopped":
            return f"stopped by {record.get('signal') or 'a signal'}, after a save"
        if record.get("event") == "finish":
            return "finished"
    return "still running, or killed" if following is None else "killed, or the machine stopped"


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
