"""Every setting, with its origin and its reason; and what to try now, as commands to copy."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from headwater.core.numbers import plural, setting
from headwater.core.records import Object, entries, table
from headwater.page.charts.markup import Child, Html, card, data_table, fold, missing, section, tag
from headwater.runs.measures import ranks_of
from headwater.runs.run_data import RunData

_ORIGINS = {
    "user": "set by the user",
    "recipe": "from a recipe",
    "rule": "computed by a rule",
    "default": "default",
}


def settings(run: RunData) -> Html:
    reasons = entries(run.config, "reasons")
    title = "Settings and their reasons"
    if not reasons:
        return section(title, "settings", missing("Not known yet: the run has no config.json."), _inputs(run))
    chosen = [reason for reason in reasons if reason.get("origin") != "default"]
    defaults = [reason for reason in reasons if reason.get("origin") == "default"]
    shown = card(None, None, _table(chosen)) if chosen else None
    folded = fold("Left at their defaults", plural(len(defaults), "setting"), _table(defaults)) if defaults else None
    return section(title, "settings", tag("p", _lead(reasons), class_="lead"), shown, folded, _inputs(run))


def _lead(reasons: list[Object]) -> str:
    counts = Counter(str(reason.get("origin", "")) for reason in reasons)
    known = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
    return f"{len(reasons)} settings: {', '.join(known)}."


def _table(reasons: list[Object]) -> Html:
    heads = ["setting", "value", "origin", "why"]
    return data_table(heads, [_row(reason) for reason in reasons], words=heads[1:])


def _row(reason: Object) -> list[Child]:
    origin = str(reason.get("origin", ""))
    badge = tag("span", origin, class_=f"badge {origin if origin in _ORIGINS else 'other'}")
    where, why = str(reason.get("where") or ""), str(reason.get("why") or "")
    is_needed = where and where not in why and origin != "rule"  # a rule's place is in this program
    place = tag("span", where, class_="where") if is_needed else None
    return [
        tag("code", str(reason.get("setting", ""))),
        _shown(reason.get("value")),
        badge,
        [why, place],
    ]


def _shown(value: Any) -> Html:
    text = setting(value)
    return tag("code", text if len(text) <= 400 else text[:400] + " …")


def _inputs(run: RunData) -> Child:
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


def next_steps(run: RunData) -> Html:
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
    items = [tag("li", tag("code", command), tag("span", what)) for command, what in commands]
    if not run.is_finished:
        items.insert(0, tag("li", tag("code", "headwater run RUN.toml"), tag("span", "resume where it stopped")))
    return section("Try it", "next", tag("ul", items, class_="commands card"))
