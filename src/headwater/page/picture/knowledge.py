"""What each stage after the first changed: which facts a model says, invents and still holds, stage by stage."""

from __future__ import annotations

from headwater.core.numbers import percent, whole
from headwater.core.records import Object, amount, entries
from headwater.page.picture.blocks import Block, Words, card, data_table, mark, section, text
from headwater.runs.run_data import RunData

_LEAD = (
    "Capitals asked as a user asks: of real countries, which the base has read of, and of made-up ones, of which no "
    "text tells. Tuning may name those of one half of each, and never those of the other. In brackets the interval of "
    "95 %, and the number of questions. A base doesn't answer in the form that is asked for: nothing of it counts."
)


def knowledge(run: RunData) -> Block | None:
    """Return the part, or None for a run whose knowledge wasn't examined."""
    stages, rows = entries(run.knowledge, "stages"), entries(run.knowledge, "table")
    if not stages or not rows:
        return None
    return section("knowledge", "What each stage changed", [text("lead", _LEAD), _table(stages, rows)])


def _values(row: Object, num_stages: int) -> list[Object]:
    values = row.get("values")
    found = [each if isinstance(each, dict) else {} for each in values] if isinstance(values, list) else []
    return (found + [{}] * num_stages)[:num_stages]


def _table(stages: list[Object], rows: list[Object]) -> Block:
    body = [[str(row.get("measure")), *map(_cell, _values(row, len(stages)))] for row in rows]
    bits = [amount(stage, "bits_per_byte") for stage in stages]
    body.append(["bits per byte of the first run's held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)])
    heads = [f"{stage.get('stage')}: {stage.get('run')}" for stage in stages]
    return card(None, None, data_table(["", *heads], body))


def _cell(value: Object) -> Words:
    share, low, high, num = (amount(value, name) for name in ("value", "low", "high", "num"))
    if share is None or low is None or high is None or num is None:
        return "–"
    return [percent(share), " ", mark("where", f"({100 * low:.0f}–{100 * high:.0f}, {whole(num)})")]
