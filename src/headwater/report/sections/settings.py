"""Every setting, with who set it and why."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from headwater.report.markup import Child, Html, tag
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
        groups: dict[str, list[Object]] = {}
        for reason in reasons:
            groups.setdefault(str(reason.get("setting", "")).split(".")[0], []).append(reason)
        body = [tag("p", _lead(reasons), class_="lead"), [_group(name, members) for name, members in groups.items()]]
    return tag("section", tag("h2", "Settings and their reasons"), body, _digests(run), id="settings")


def _lead(reasons: list[Object]) -> str:
    counts = Counter(str(reason.get("origin", "")) for reason in reasons)
    known = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
    return f"{len(reasons)} settings: {', '.join(known)}."


def _group(name: str, members: list[Object]) -> Html:
    chosen = sum(member.get("origin") in ("user", "recipe") for member in members)
    note = f"{len(members)} setting{'s' if len(members) != 1 else ''}" + (f", {chosen} chosen" if chosen else "")
    head = tag("tr", [tag("th", words, scope="col") for words in ("setting", "value", "origin", "why")])
    body = tag("table", tag("thead", head), tag("tbody", [_row(member) for member in members]), class_="settings")
    summary = tag("summary", tag("b", name or "run"), tag("span", note, class_="when"))
    return tag("details", summary, tag("div", body, class_="scroll"), class_="card")


def _row(reason: Object) -> Html:
    origin = str(reason.get("origin", ""))
    badge = tag("span", origin, class_=f"badge {origin if origin in _ORIGINS else 'other'}")
    where = str(reason.get("where") or "")
    why = [str(reason.get("why") or ""), tag("span", where, class_="where") if where else None]
    return tag(
        "tr",
        tag("th", tag("code", str(reason.get("setting", ""))), scope="row"),
        tag("td", tag("code", show_value(reason.get("value")))),
        tag("td", badge),
        tag("td", why),
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
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", tag("code", str(manifest.get("digest") or manifest.get("key")))))
        for name, manifest in named
        if manifest.get("digest") or manifest.get("key")
    ]
    device = table(run.start, "device")
    facts = [(key.replace("_", " "), show_value(value)) for key, value in device.items()]
    rows += [tag("tr", tag("th", key, scope="row"), tag("td", value)) for key, value in facts]
    if not rows:
        return None
    summary = tag("summary", tag("b", "data and device"), tag("span", "digests of the inputs, the machine", class_="when"))
    return tag("details", summary, tag("div", tag("table", tag("tbody", rows), class_="settings"), class_="scroll"), class_="card")
