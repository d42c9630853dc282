"""What to try now, as commands to copy."""

from __future__ import annotations

import shlex

from headwater.report.markup import Html, tag
from headwater.report.run_data import RunData, table


def next_steps(run: RunData) -> Html:
    runs_dir = table(run.config, "settings").get("runs_dir")
    folder = shlex.quote(f"{runs_dir if isinstance(runs_dir, str) else 'runs'}/{run.name}")
    commands = [
        ('headwater next "The capital of France is" --run {}', "the next-token distribution of any prompt"),
        ('headwater generate "Once upon a time" --run {}', "let it write"),
        ('headwater surprise "The sun rises in the west." --run {}', "what it finds unlikely, token by token"),
        ("headwater evaluate --run {}", "bits per byte by source, the abilities and the baselines"),
        ('headwater corpus trace "the sun" --run {}', "which documents hold a text: did it learn this by heart?"),
        ("headwater export {}", "a folder that transformers, vLLM and TRL open"),
        ("headwater new mine --text FOLDER", "a run file that trains on your own text"),
    ]
    items = [tag("li", tag("code", command.format(folder)), tag("span", what)) for command, what in commands]
    if not run.is_finished:
        first = tag("li", tag("code", "headwater run RUN.toml"), tag("span", "go on where it stopped"))
        items.insert(0, first)
    return tag("section", tag("h2", "Try it"), tag("ul", items, class_="commands card"), id="next")
