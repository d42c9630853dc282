"""What to try now, as commands to copy."""

from __future__ import annotations

import shlex

from headwater.core.records import table
from headwater.page.charts.markup import Html, section, tag
from headwater.runs.run_data import RunData


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
