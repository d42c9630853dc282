"""What a run would do, and what it would cost, by the code that decides both when it is called; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import HeadwaterError
from headwater.machine.ranks.mesh import Layout, Place
from headwater.runfile.kept_settings import with_kept
from headwater.runfile.paths import RunFolder
from headwater.runfile.resolve import Reason
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.runs.running import layout_to_train, require_possible
from headwater.runs.stages import Decision, data_due, training_due
from headwater.train.checkpoint.lock import is_owned
from headwater.train.resume import require_settings

IsShown = Callable[[RunFolder], bool]


@dataclass(frozen=True)
class DryRun:
    """What `run` would do.

    stages   each with its action (do, resume, skip, refuse) and why
    plan     what `headwater plan RUN --json` prints; None of what is trained, or refused before it can be planned
    refused  why the run would be refused; () where it wouldn't, as far as can be known without doing anything
    """

    folder: Path
    stages: tuple[Decision, ...]
    plan: dict[str, Any] | None
    refused: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """Return what `headwater run --dry-run --json` prints."""
        return asdict(self) | {"folder": str(self.folder)}


def dry_run(
    config: RunConfig,
    reasons: Sequence[Reason],
    place: Place | None = None,
    is_shown: IsShown = lambda here: False,
) -> DryRun:
    """Return what `run` would do with these settings, as far as what is there tells; nothing is written.

    `reasons` are those of `load_run`: what a rule made of a run that is begun stays as it is in its checkpoints.
    `is_shown` says whether the report shows all that a run's folder holds: `page.report.stage.is_shown`.
    """
    place, here, refused = place or Place(), RunFolder(config.run_dir), list[str]()
    config, _ = with_kept(config, reasons, here)
    if is_owned(here.run):
        refused.append(f"{here.run} is in use by another process")
    layout: Layout | None = None
    try:
        require_possible(config)
        layout = layout_to_train(config, place, here)
    except HeadwaterError as error:
        refused.append(str(error))
    found = list(_decisions(config, here, is_shown))
    refused += [each.why for each in found if each.action == "refuse"]
    plan = None
    if any(each.stage == "training" and each.action in ("do", "resume") for each in found):
        from headwater.plan.run_plan import plan_run

        try:
            plan = plan_run(config, layout=layout)
        except HeadwaterError as error:  # a run is trained without one
            found.append(Decision("plan", "skip", str(error)))
    return DryRun(config.run_dir, tuple(found), plan, tuple(dict.fromkeys(refused)))


def _decisions(config: RunConfig, here: RunFolder, is_shown: IsShown) -> Iterator[Decision]:
    """Yield what becomes of each stage, up to the first that is refused."""

    def decided(stage: str, decide: Callable[[], list[Decision]]) -> list[Decision]:
        try:
            return decide()
        except HeadwaterError as error:
            return [Decision(stage, "refuse", str(error))]

    data = decided("corpus", lambda: data_due(config, here))
    yield from data
    if data[-1].action == "refuse":
        return
    is_new = any(each.action == "do" for each in data)

    def of_training() -> list[Decision]:
        require_settings(here.run, train_plan(config), here.state)  # as `prepare_data` does before all else
        return [training_due(config, here, is_new)]

    (training,) = decided("training", of_training)
    yield training
    if training.action == "refuse":
        return
    if training.action == "skip":
        from headwater.runs.finish import finish_due

        after = decided("evaluation", lambda: finish_due(config, here))
    else:
        after = [Decision(stage, "do", "after training") for stage in ("evaluation", "export")]
    yield from after
    if all(each.action == "skip" for each in after) and is_shown(here):
        yield Decision("report", "skip", "it shows all that the folder holds")
    else:
        yield Decision("report", "do", "it is to show what the stages before it made")
    if config.downstream is not None:
        yield Decision("downstream", "do", f"{config.name}-rl is aligned and examined, or resumed as far as it is done")
