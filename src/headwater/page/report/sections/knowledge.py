"""What each stage after the first changed: which facts a model says, invents and still holds, stage by stage."""

from __future__ import annotations

from headwater.core.numbers import percent, whole
from headwater.core.records import Object, amount, entries
from headwater.page.charts.markup import Child, Html, card, data_table, section, tag
from headwater.runs.run_data import RunData

_LEAD = (
    "Capitals asked as a user asks: of real countries, which the base has read of, and of made-up ones, of which no "
    "text tells. Tuning may name those of one half of each, and never those of the other. In brackets the interval of "
    "95 %, and the number of questions. A base doesn't answer in the form that is asked for: nothing of it counts."
)


def knowledge(run: RunData) -> Html | None:
    """Return the part, or None for a run whose knowledge wasn't examined."""
    stages, rows = entries(run.knowledge, "stages"), entries(run.knowledge, "table")
    if not stages or not rows:
        return None
    lead = tag("p", _LEAD, class_="lead")
    return section("What each stage changed", "knowledge", lead, _table(stages, rows))


def _heads(stages: list[Object]) -> list[str]:
    return [f"{stage.get('stage')}: {stage.get('run')}" for stage in stages]


def _values(row: Object, num_stages: int) -> list[Object]:
    values = row.get("values")
    found = [each if isinstance(each, dict) else {} for each in values] if isinstance(values, list) else []
    return (found + [{}] * num_stages)[:num_stages]


def _table(stages: list[Object], rows: list[Object]) -> Html:
    body = [[str(row.get("measure")), *map(_cell, _values(row, len(stages)))] for row in rows]
    bits = [amount(stage, "bits_per_byte") for stage in stages]
    body.append(["bits per byte of the first run's held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)])
    return card(None, None, data_table(["", *_heads(stages)], body))


def _cell(value: Object) -> Child:
    share, low, high, num = (amount(value, name) for name in ("value", "low", "high", "num"))
    if share is None or low is None or high is None or num is None:
        return "–"
    return [percent(share), " ", tag("span", f"({100 * low:.0f}–{100 * high:.0f}, {whole(num)})", class_="where")]
