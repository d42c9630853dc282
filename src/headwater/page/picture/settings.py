"""Every setting, with its origin and its reason; and what to try now, as commands to copy."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from headwater.core.numbers import plural, setting
from headwater.core.records import Object, entries, table
from headwater.page.picture.blocks import Block, card, data_table, fold, items, mark, missing, section, text
from headwater.runs.measures import ranks_of
from headwater.runs.run_data import RunData

_ORIGINS = {
    "user": "set by the user",
    "recipe": "from a recipe",
    "rule": "computed by a rule",
    "default": "default",
}


def settings(run: RunData) -> Block:
    reasons = entries(run.config, "reasons")
    parts: list[Block] = [missing("Not known yet: the run has no config.json.")]
    if reasons:
        chosen = [reason for reason in reasons if reason.get("origin") != "default"]
        defaults = [reason for reason in reasons if reason.get("origin") == "default"]
        parts = [text("lead", _lead(reasons)), *([card(None, None, _table(chosen))] if chosen else [])]
        if defaults:
            parts.append(fold("Left at their defaults", plural(len(defaults), "setting"), _table(defaults)))
    return section("settings", "Settings and their reasons", parts, _inputs(run), link="Settings")


def _lead(reasons: list[Object]) -> str:
    counts = Counter(str(reason.get("origin", "")) for reason in reasons)
    known = [f"{counts[origin]} {words}" for origin, words in _ORIGINS.items() if counts[origin]]
    return f"{len(reasons)} settings: {', '.join(known)}."


def _table(reasons: list[Object]) -> Block:
    rows = []
    for reason in reasons:
        origin, where, why = (str(reason.get(name) or "") for name in ("origin", "where", "why"))
        is_needed = where and where not in why and origin != "rule"  # a rule's place is in this program
        badge = mark(f"badge {origin if origin in _ORIGINS else 'other'}", origin)
        place = mark("where", where) if is_needed else None
        rows.append([mark("code", str(reason.get("setting", ""))), _shown(reason.get("value")), badge, [why, place]])
    heads = ["setting", "value", "origin", "why"]
    return data_table(heads, rows, words=heads[1:])


def _shown(value: Any) -> Block:
    words = setting(value)
    return mark("code", words if len(words) <= 400 else words[:400] + " …")


def _inputs(run: RunData) -> Block | None:
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


def next_steps(run: RunData) -> Block:
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
    if not run.is_finished:
        commands.insert(0, ("headwater run RUN.toml", "resume where it stopped"))
    found = [[mark("code", command), mark("", what)] for command, what in commands]
    return section("next", "Try it", items("commands card", found))
