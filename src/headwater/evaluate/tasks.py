"""Tasks of lm-evaluation-harness: our probes as its files, YAML beside JSONL; and scores. Nothing of it is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.core.files import encoded, write_bytes, write_text
from headwater.corpus.samples.almanac.probes import Choice


@dataclass(frozen=True)
class TaskScore:
    """What one metric of a task came to, with its interval of 95 %: Wilson's of a share, else by lm-eval's error.

    The interval is None where lm-eval has no standard error, and `num_items` of a group of tasks.
    """

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    is_share: bool
    num_items: int | None


def score_text(value: float, low: float | None, high: float | None, is_share: bool) -> str:
    """Return a score and the ends of its interval: 82.0% (72.3% to 89.0%), or 12.31 (11.9 to 12.72)."""
    show = "{:.1%}".format if is_share else "{:.4g}".format
    return show(value) + ("" if low is None or high is None else f" ({show(low)} to {show(high)})")


def write_task_files(folder: Path, run: str, probes: Mapping[str, Sequence[Choice]]) -> list[str]:
    """Write NAME.yaml and NAME.jsonl for each probe and return the tasks' names, each beginning with the run's.

    The YAML names the data by its whole path, as lm-eval needs it: write them again where the folder is moved.
    """
    names = []
    for probe, choices in probes.items():
        name = f"{run}-{probe}"
        names.append(name)
        data = folder.resolve() / f"{name}.jsonl"
        lines = [
            json.dumps({"prompt": each.prompt, "options": each.options, "answer": each.answer}, ensure_ascii=False)
            for each in choices
        ]
        write_bytes(data, encoded("".join(f"{line}\n" for line in lines)))
        write_text(folder / f"{name}.yaml", _task(name, data))
    return names


def _task(name: str, data: Path) -> str:
    """Return a task: the option with the highest log-probability, which isn't divided by its length."""
    return f"""\
task: {json.dumps(name)}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {json.dumps(str(data))}
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: options
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
