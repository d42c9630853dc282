"""The verb evaluate: a run's own held-out text and probes, tasks of lm-evaluation-harness, anybody's text."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from headwater.cli.arguments import OFFLINE, AsJson, RunOrNone, SameRun, folder_of, option, require_none
from headwater.cli.terminal import print_json, say, say_beside, table
from headwater.cli.verbs import App
from headwater.core.errors import ConfigError

if TYPE_CHECKING:
    from headwater.evaluate.tasks import TaskScore
    from headwater.runfile.run_config import RunConfig
    from headwater.runs.library.evaluating import TextResult


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
    from headwater.page.report.stage import refresh_report
    from headwater.runfile.run_config import config_of_run
    from headwater.runs.library import evaluating
    from headwater.runs.tuned import answers_messages

    if sum(each is not None for each in (tasks, write_tasks, text)) > 1:
        raise ConfigError("give one of --tasks, --write-tasks and --text")
    if tasks is None:
        require_none("is of --tasks", limit=limit, chat=chat)
    config = config_of_run(folder_of(run, same_run))
    if tasks is not None:
        is_chat = answers_messages(config) if chat is None else chat == "yes"
        scores = evaluating.evaluate_tasks(config, tasks.split(","), is_chat, limit)
        if limit is None:
            refresh_report(config)
        if is_chat and not as_json:
            print("each item asked as a user's message; --chat no has it continued as text")
        print_json({"tasks": [asdict(score) for score in scores]}) if as_json else _print_scores(scores)
    elif write_tasks is not None:
        names = evaluating.write_tasks(config, write_tasks)
        print_json({"tasks": names}) if as_json else _print_command(config.run_dir, write_tasks, names)
    elif text is not None:
        found = evaluating.evaluate_text(config, text, say_beside(as_json))
        print_json(asdict(found)) if as_json else _print_text(found)
    else:
        _held_out(config, as_json)


def _print_scores(scores: list[TaskScore]) -> None:
    from headwater.evaluate.tasks import score_text

    rows = [("task", "metric", "score (95 %)", "items")]
    for each in scores:
        shown = score_text(each.value, each.low, each.high, each.is_share)
        rows.append((each.task, each.metric, shown, "" if each.num_items is None else f"{each.num_items:,}"))
    table(rows, "<<<")


def _print_command(run_dir: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        say(f"wrote {folder / name}.yaml")
    say(
        f"run them on the export: lm_eval run --model hf --model_args pretrained={run_dir / 'export/hf'},"
        f"add_bos_token=True --include_path {folder} --tasks {','.join(names)}"
    )


def _print_text(found: TextResult) -> None:
    from headwater.core.numbers import plural
    from headwater.runs.measures import BASELINES

    measure, interval = found.measure, ""
    if measure.interval is not None:
        interval = f" ({measure.interval.low:.3f} to {measure.interval.high:.3f}, of {measure.interval.num} "
        interval += f"{measure.parts}, 95 %)"
    read = f"{plural(measure.num_documents, 'document')}, {measure.num_bytes:,} bytes, {measure.num_tokens:,} tokens"
    lines = [("bits per byte", f"{measure.bits_per_byte:.3f}{interval}"), ("text", read)]
    if found.baselines:
        named = (f"{BASELINES[name]} {value:.3f}" for name, value in found.baselines.items())
        lines.append(("simpler models", ", ".join(named)))
    table(lines, "<<")


def _held_out(config: RunConfig, as_json: bool) -> None:
    from headwater.cli.running import print_evaluation
    from headwater.runs.finish import evaluate_stage

    result = evaluate_stage(config, say_beside(as_json))
    print_json(result) if as_json else print_evaluation(result)
