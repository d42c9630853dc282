"""Every process that worked on the run: where it began, how it ended, and what had to be done again."""

from __future__ import annotations

from headwater.records import Record
from headwater.report.markup import Child, Html, tag
from headwater.report.measures import audit_line
from headwater.report.numbers import moment, number, plural, size, times, whole
from headwater.report.run_data import RunData, amount


def attempts(run: RunData) -> Child:
    """Return one row an attempt; steps past the checkpoint that the next one resumed from were done again."""
    groups: dict[str, list[Record]] = {}
    for record in run.all_records:
        groups.setdefault(str(record.get("attempt", "–")), []).append(record)
    if not groups:
        return None
    in_order = list(groups.values())
    followers: list[list[Record] | None] = [*in_order[1:], None]
    rows = [_row(records, following) for records, following in zip(in_order, followers, strict=True)]
    names = ["attempt", "began", "from step", "to step", "how it ended", "steps done again"]
    head = tag("tr", [tag("th", name, scope="col", class_="words" if name == names[4] else None) for name in names])
    body = tag("table", tag("thead", head), tag("tbody", rows), class_="numbers attempts")
    caption = tag("figcaption", tag("h3", "Attempts"), tag("p", " ".join(_notes(run, len(in_order)))))
    return tag("figure", caption, tag("div", body, class_="scroll"), class_="card")


def _notes(run: RunData, num_attempts: int) -> list[str]:
    resumes, saves = len(run.events("resume")), run.events("checkpoint")
    notes = []
    if resumes:
        notes.append(f"Resumed {times(resumes)}; what was lost past the last checkpoint was done again.")
    elif num_attempts == 1:
        notes.append("One process, never interrupted." if run.is_finished else "One process so far.")
    if saves:
        last = saves[-1]
        where = f"step {whole(amount(last, 'step'))} ({size(amount(last, 'bytes'))})"
        notes.append(f"{plural(len(saves), 'checkpoint')}, the last at {where}.")
    # older runs recorded one as a step, too
    bad = len(run.events("skipped")) + sum(record.get("taken") is False for record in run.events("step"))
    if bad:
        notes.append(f"{plural(bad, 'step')} not taken: no finite loss or gradient, or an outlier.")
    audits = audit_line(run.last("finish"))
    return [*notes, f"{audits[0].upper()}{audits[1:]}."] if audits else notes


def _row(records: list[Record], following: list[Record] | None) -> Html:
    steps = [step for record in records if (step := amount(record, "step")) is not None]
    reached, resumed_at = max(steps, default=None), _resumed_at(following)
    again = max(0.0, reached - resumed_at) if resumed_at is not None and reached is not None else None
    return tag(
        "tr",
        tag("th", str(records[0].get("attempt", "–")), scope="row"),
        tag("td", moment(number(records[0].get("time")))),
        tag("td", whole(steps[0] if steps else None)),
        tag("td", whole(reached)),
        tag("td", _ending(records, following), class_="words"),
        tag("td", whole(again)),
    )


def _resumed_at(records: list[Record] | None) -> float | None:
    begins = [record for record in records or [] if record.get("event") in ("resume", "start")]
    return amount(begins[0], "step") if begins else None


def _ending(records: list[Record], following: list[Record] | None) -> str:
    for record in reversed(records):
        if record.get("event") == "stopped":
            return f"stopped by {record.get('signal') or 'a signal'}, after a save"
        if record.get("event") == "finish":
            return "finished"
    if following is None:
        return "still running, or killed"
    return "died without a word: killed, or the machine went away"
