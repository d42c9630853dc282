"""The verb evaluate: a run's own held-out text and probes, tasks of lm-evaluation-harness, anybody's text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from headwater.cli.arguments import OFFLINE, AsJson, RunOrNone, SameRun, folder_of, option
from headwater.cli.terminal import print_json, say, say_beside, table
from headwater.cli.verbs import App


def add_to(app: App) -> None:
    app.verb(evaluate)


def evaluate(
    run: RunOrNone = None,
    same_run: SameRun = None,
    tasks: Annotated[
        str | None, option("DIR|NAME,...", "Run tasks of lm-evaluation-harness: a folder of task files, or names.")
    ] = None,
    limit: Annotated[int | None, option("N", "Of each task the first N items alone.", min=1)] = None,
    chat: Annotated[
        Literal["yes", "no"] | None, option("yes|no", "Ask tasks as a user does; by default where the model was tuned.")
    ] = None,
    write_tasks: Annotated[
        Path | None, option("DIR", "Write the run's probes as task files, for lm-eval and any model.")
    ] = None,
    text: Annotated[Path | None, option("PATH", "Measure bits per byte of a file, or of a folder's files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure bits per byte, probes and baselines on held-out text.

    With --tasks or --text, on those.
    """
    if tasks is not None:
        os.environ.update(OFFLINE)  # read when lm-eval's libraries are imported
    from headwater.page import run as library

    is_chat = None if chat is None else chat == "yes"
    run_dir, say = folder_of(run, same_run), say_beside(as_json)
    result = library.evaluate(
        run_dir, tasks=tasks, text=text, write_tasks=write_tasks, limit=limit, chat=is_chat, say=say
    )
    if as_json:
        print_json(result)
    elif tasks is not None:
        _print_scores(result["tasks"])
    elif write_tasks is not None:
        _print_command(run_dir, write_tasks, result["tasks"])
    elif text is not None:
        _print_text(**result)
    else:
        from headwater.cli.running import print_evaluation

        print_evaluation(result)


def _print_scores(scores: list[dict[str, Any]]) -> None:
    from headwater.evaluate.tasks import score_text

    rows = [("task", "metric", "score (95 %)", "items")]
    for each in scores:
        shown = score_text(each["value"], each["low"], each["high"], each["is_share"])
        items = "" if each["num_items"] is None else f"{each['num_items']:,}"
        rows.append((each["task"], each["metric"], shown, items))
    table(rows, "<<<")


def _print_command(run_dir: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        say(f"wrote {folder / name}.yaml")
    say(
        f"run them on the export: lm_eval run --model hf --model_args pretrained={run_dir / 'export/hf'},"
        f"add_bos_token=True --include_path {folder} --tasks {','.join(names)}"
    )


def _print_text(measure: dict[str, Any], baselines: dict[str, float]) -> None:
    from headwater.core.numbers import plural
    from headwater.runs.measures import BASELINES

    interval = ""
    if (found := measure["interval"]) is not None:
        interval = f" ({found['low']:.3f} to {found['high']:.3f}, of {found['num']} {measure['parts']}, 95 %)"
    read = f"{measure['num_bytes']:,} bytes, {measure['num_tokens']:,} tokens"
    lines = [
        ("bits per byte", f"{measure['bits_per_byte']:.3f}{interval}"),
        ("text", f"{plural(measure['num_documents'], 'document')}, {read}"),
    ]
    if baselines:
        named = (f"{BASELINES[name]} {value:.3f}" for name, value in baselines.items())
        lines.append(("simpler models", ", ".join(named)))
    table(lines, "<<")
