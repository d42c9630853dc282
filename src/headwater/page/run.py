"""A run from its file, in one call, with its report; a run that tunes another; a run measured, and its report again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import InstanceOf

from headwater.core.errors import ConfigError
from headwater.core.validation import wanted
from headwater.page.report.page import is_shown, refresh_report, report_stage
from headwater.runfile.run_config import config_of_run, load_run
from headwater.runs import running
from headwater.runs.finish import evaluate_stage
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, folder_of, name_of, overrides_of, paths_of, require_none
from headwater.runs.result import RunResult
from headwater.runs.run_data import read_run
from headwater.runs.running import Call, DryRun
from headwater.runs.running import dry_run as dry_run_of
from headwater.runs.tuned import answers_messages

Named = Annotated[str | InstanceOf[Path], wanted("give the name of a recipe, a run file or a run folder")]


@checked
def run(name: Named, /, say: arg.Progress = print, **settings: Any) -> RunResult:
    """Bring every stage of a recipe, a run file or a run folder up to date, as `headwater run` does.

    `settings` are for this call, in the tables of a run file: `run("mine.toml", train={"num_steps": 200}, seed=2)`;
    None turns one off. `say` gets lines of progress. The same call resumes a run that was stopped. Raises
    HeadwaterError for what a person can mend.
    """
    config, reasons = load_run(str(name), overrides_of(settings))
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # wandb calls its makers, of offline runs too
    return running.run(config, reasons, say=say, call=Call(report=report_stage))


@checked
def dry_run(name: Named, /, **settings: Any) -> DryRun:
    """Return what `run` would do, stage by stage and why, what it would cost, what is refused; nothing is written."""
    return dry_run_of(*load_run(str(name), overrides_of(settings)), is_shown=is_shown)


@checked
def tune(
    base: arg.AnyRun,
    data: arg.Paths,
    /,
    name: arg.Text | None = None,
    *,
    replay: arg.Number = 0.5,
    say: arg.Progress = print,
    **settings: Any,
) -> RunResult:
    """Teach a model to answer: write a run file that trains it on conversations, and run that.

    As `headwater downstream sft` does. `base` is a run, or a model of other people's; `data` a file or a folder of
    conversations (JSON lines), or a list of them. The new run has `name`, or that of the base with -sft, and its file
    NAME.toml, `settings` in it, is in the current folder. `replay` is the share of the loss that is the base's own
    text, against forgetting. The same call resumes. Raises DataError where no conversation can be learned from.

        headwater.Model.load(headwater.tune("runs/mine", "talks.jsonl")).chat("Hello")
    """
    from headwater.runs.library.tuning import write_tuning_file  # torch

    path = write_tuning_file(name_of(base), paths_of(data), name, replay, say, overrides_of(settings))
    return run(path, say=say)


@checked
def evaluate(
    run: arg.AnyRun,
    /,
    *,
    tasks: arg.Text | Sequence[arg.Text] | None = None,
    text: arg.AnyPath | None = None,
    write_tasks: arg.AnyPath | None = None,
    limit: arg.Count | None = None,
    chat: arg.Switch | None = None,
    say: arg.Progress = print,
) -> dict[str, Any]:
    """Measure the newest model of a run, and return what `headwater evaluate --json` prints.

    On held-out text: `bits_per_byte` and `loss` (nats per token) by source and of "all", `probes`, `baselines`. With
    `text`, a file or a folder: {"measure", "baselines"}, bits per byte of it. With `tasks` of lm-evaluation-harness,
    folders of task files or names: {"tasks": [{"task", "metric", "value", "low", "high", …}]}, kept with the run and
    shown in its report unless a `limit` takes the first items alone; `chat` asks them as a user does, by default where
    the model was tuned. With `write_tasks` the run's probes become task files in that folder. Raises EvaluationError
    where there is nothing to score, ConfigError for options that don't go together.

        headwater.evaluate("runs/mine")["bits_per_byte"]["all"]
    """
    if sum(each is not None for each in (tasks, write_tasks, text)) > 1:
        raise ConfigError("give one of --tasks, --write-tasks and --text")
    if tasks is None:
        require_none("is of --tasks", limit=limit, chat=chat)
    config = config_of_run(folder_of(run))
    if (lost := read_run(config.run_dir).damage) is not None:
        say(lost)
    if tasks is None and write_tasks is None and text is None:
        return evaluate_stage(config, say)
    from headwater.runs.library import evaluating

    if write_tasks is not None:
        return {"tasks": evaluating.write_tasks(config, Path(write_tasks))}
    if text is not None:
        return asdict(evaluating.evaluate_text(config, Path(text), say))
    is_chat = answers_messages(config) if chat is None else chat
    if is_chat:
        say("each item is asked as a user's message; --chat no has it continued as text")
    names = [name for name in (tasks.split(",") if isinstance(tasks, str) else list(tasks or ())) if name]
    if not names:
        raise ConfigError("tasks names none: give a folder of task files, or names of lm-evaluation-harness")
    scores = evaluating.evaluate_tasks(config, names, is_chat, limit)
    if limit is None:
        refresh_report(config)
    return {"tasks": [asdict(score) for score in scores]}
