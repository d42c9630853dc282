"""A run from its file, in one call, with its report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import InstanceOf

from headwater.core.validation import wanted
from headwater.page.report.stage import report_stage
from headwater.runfile.run_config import load_run
from headwater.runs import running
from headwater.runs.library.checked import Progress, checked, overrides_of
from headwater.runs.result import RunResult
from headwater.runs.running import Call
from headwater.train.trackers import keep_local

Named = Annotated[str | InstanceOf[Path], wanted("give the name of a recipe, a run file or a run folder")]


@checked
def run(name: Named, /, say: Progress = print, **settings: Any) -> RunResult:
    """Bring every stage of a recipe, a run file or a run folder up to date, as `headwater run` does.

    `settings` are for this call, in the tables of a run file: `run("mine.toml", train={"num_steps": 200}, seed=2)`;
    None turns one off. `say` gets lines of progress. The same call resumes a run that was stopped. Raises
    HeadwaterError for what a person can mend.
    """
    config, reasons = load_run(str(name), overrides_of(settings))
    keep_local(config.train.trackers, os.environ)
    return running.run(config, reasons, say=say, call=Call(report=report_stage))
