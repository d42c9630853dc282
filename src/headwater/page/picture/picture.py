"""The picture of a run: all that report and live page show of it, as plain values; what isn't known yet is absent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headwater.page.picture.blocks import Block, shown
from headwater.page.picture.corpus import corpus
from headwater.page.picture.forecast import forecast
from headwater.page.picture.knowledge import knowledge
from headwater.page.picture.learning import learning
from headwater.page.picture.of_run import run_charts
from headwater.page.picture.probes import probes, samples
from headwater.page.picture.running import running
from headwater.page.picture.settings import next_steps, settings
from headwater.page.picture.title import title
from headwater.runs.run_data import RunData


def picture_of(run: RunData, between: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return the picture of a run: name, result, status, figures, and sections of blocks.

    Its charts of steps hold those `between` two amounts of tokens, if given.
    """
    if not run.is_finished and _is_older(run):
        run = replace(run, evaluation={})
    charts = run_charts(run, between)
    parts: list[Block | None] = [corpus(run), learning(run, charts), probes(run), samples(run), knowledge(run)]
    parts += [running(run, charts), forecast(run, charts), settings(run), next_steps(run)]
    return shown({**title(run), "sections": [part for part in parts if part]})


def _is_older(run: RunData) -> bool:
    """Return whether the evaluation is of the shorter run that this one was."""
    try:
        evaluated_at = (run.folder / "evaluation.json").stat().st_mtime
    except OSError:
        return False
    return evaluated_at < max((attempt.ended or 0.0 for attempt in run.log.attempts.values()), default=0.0)
