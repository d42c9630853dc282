"""What the run was not trained on, and what it went back from: one row an intervention."""

from __future__ import annotations

from headwater.records import Record
from headwater.report.markup import Child, Html, tag
from headwater.report.numbers import whole
from headwater.report.run_data import RunData, amount, table
from headwater.train.interventions import told

MAX_SHOWN = 50
NAMES = ("what", "at step", "rows", "why", "documents")


def interventions(run: RunData) -> Child:
    """Return a table of the steps that weren't taken and of the ways back; nothing where there were none."""
    entries = run.interventions
    if not entries:
        return None
    head = tag("tr", [tag("th", name, scope="col", class_="words" if name in NAMES[3:] else None) for name in NAMES])
    body = tag("tbody", [_row(entry) for entry in entries[-MAX_SHOWN:]])
    note = (
        f"Steps that were not taken, and rows left out after going back; {len(entries)} in all"
        + (f", the last {MAX_SHOWN} shown" if len(entries) > MAX_SHOWN else "")
        + ". The run replays from this log: headwater train RUN --replay."
    )
    caption = tag("figcaption", tag("h3", "Interventions"), tag("p", note))
    shown = tag("table", tag("thead", head), body, class_="numbers attempts")
    return tag("figure", caption, tag("div", shown, class_="scroll"), class_="card")


def _row(entry: Record) -> Html:
    at = whole(amount(entry, "from_step"))
    is_back = entry.get("kind") == "rollback"
    documents = table(entry, "documents")
    is_whole = isinstance(documents.get("count"), int) and all(map(_is_named, documents.get("listed") or [0]))
    return tag(
        "tr",
        tag("th", "rollback" if is_back else "step not taken", scope="row"),
        tag("td", f"{at}, back to {whole(amount(entry, 'to_step'))}" if is_back else at),
        tag("td", f"{whole(amount(entry, 'first_row'))} to {whole(amount(entry, 'last_row'))}"),
        tag("td", str(entry.get("reason") or "–"), class_="words"),
        tag("td", told(documents) if is_whole else "–", class_="words"),
    )


def _is_named(document: object) -> bool:
    return isinstance(document, list) and len(document) == 2
