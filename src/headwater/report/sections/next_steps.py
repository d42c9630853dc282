"""What to try now, as commands to copy."""

from __future__ import annotations

import shlex

from headwater.report.markup import Html, section, tag
from headwater.report.run_data import RunData, table


def next_steps(run: RunData) -> Html:
    runs_dir = table(run.config, "settings").get("runs_dir")
    folder = shlex.quote(f"{runs_dir if isinstance(runs_dir, str) else 'runs'}/{run.name}")
    commands = [
        ('headwater next "The capital of France is" --run {}', "the likeliest next tokens of a prompt"),
        ('headwater generate "Once upon a time" --run {}', "continue a text"),
        ('headwater surprise "The sun rises in the west." --run {}', "which tokens of a text it finds unlikely"),
        ("headwater evaluate {}", "bits per byte by source, probes and baselines"),
        ('headwater corpus trace "the sun" --run {}', "which documents hold a text: has it memorised this?"),
        ("headwater export {}", "a folder that transformers, vLLM and TRL open"),
        ("headwater new mine --text FOLDER", "a run file that trains on your own text"),
    ]
    items = [tag("li", tag("code", command.format(folder)), tag("span", what)) for command, what in commands]
    if not run.is_finished:
        items.insert(0, tag("li", tag("code", "headwater run RUN.toml"), tag("span", "resume where it stopped")))
    return section("Try it", "next", tag("ul", items, class_="commands card"))
