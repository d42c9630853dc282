"""Every setting, with who set it and why."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from headwater.report.markup import Child, Html, tag
from headwater.report.numbers import plural
from headwater.report.run_data import Object, RunData, entries, table

_ORIGINS = {
    "user": "set by the user",
    "recipe": "from a recipe",
    "rule": "worked out by a rule",
    "default": "default",
}


def settings(run: RunData) -> Html:
    reasons = entries(run.config, "reasons")
    if not reasons:
        body: Child = tag("p", "Not known yet: the run has no resolved configuration.", class_="missing card")
    else:
        chosen = [reason for reason in reasons if reason.get("origin") != "default"]
        defaults = [reason for reason in reasons if reason.get("origin") == "default"]
        body = [tag("p", _lead(reasons), class_="lead"), _chosen(chosen), _defaults(defaults)]
    return tag("section", tag("h2", "Settings and their reasons"), body, _digests(run), id="settings")


def _lead(reasons: list[Object]) -> str:
    counts = Counter(str(reason.get("origin", "")) for reason in reasons)
    known = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
    return f"{len(reasons)} settings: {', '.join(known)}."


def _chosen(reasons: list[Object]) -> Child:
    return tag("figure", _table(reasons), class_="card") if reasons else None


def _defaults(reasons: list[Object]) -> Child:
    if not reasons:
        return None
    note = tag("span", plural(len(reasons), "setting"), class_="when")
    return tag("details", tag("summary", tag("b", "Left at their defaults"), note), _table(reasons), class_="card")


def _table(reasons: list[Object]) -> Html:
    head = tag("tr", [tag("th", words, scope="col") for words in ("setting", "value", "origin", "why")])
    body = tag("table", tag("thead", head), tag("tbody", [_row(reason) for reason in reasons]), class_="settings")
    return tag("div", body, class_="scroll")


def _row(reason: Object) -> Html:
    origin = str(reason.get("origin", ""))
    badge = tag("span", origin, class_=f"badge {origin if origin in _ORIGINS else 'other'}")
    where, why = str(reason.get("where") or ""), str(reason.get("why") or "")
    is_telling = where and where not in why and origin != "rule"  # a rule's place is in this program
    place = tag("span", where, class_="where") if is_telling else None
    return tag(
        "tr",
        tag("th", tag("code", str(reason.get("setting", ""))), scope="row"),
        tag("td", tag("code", show_value(reason.get("value")))),
        tag("td", badge),
        tag("td", why, place),
    )


def show_value(value: Any) -> str:
    """Return a value as a run file would write it; None is off."""
    if value is None:
        return "off"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + " …"


def _digests(run: RunData) -> Child:
    """Return what names the inputs exactly, so that a result can be traced and repeated."""
    named = [("corpus", run.corpus), ("tokenizer", run.tokenizer), ("tokens", run.tokens)]
    facts = [(name, manifest.get("digest")) for name, manifest in named if manifest.get("digest")]
    facts += [(name.replace("_", " "), value) for name, value in table(run.start, "device").items()]
    if not facts:
        return None
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", tag("code", show_value(value)))) for name, value in facts]
    note = tag("span", "digests of the inputs, and the machine", class_="when")
    body = tag("div", tag("table", tag("tbody", rows), class_="settings"), class_="scroll")
    return tag("details", tag("summary", tag("b", "Data and device"), note), body, class_="card")
