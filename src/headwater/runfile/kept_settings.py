"""The settings of a run that has begun: what rules gave it at its start stays, whatever they would give it today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headwater.core.errors import ConfigError
from headwater.runfile.checking import Reason
from headwater.runfile.given import Override
from headwater.runfile.paths import RunFolder
from headwater.runfile.rules import RULES
from headwater.runfile.run_config import RunConfig, load_run, saved, train_plan, with_values
from headwater.train.checkpoint.layout import list_checkpoints


def load_with_kept(name: str, overrides: Sequence[str | Override] = ()) -> tuple[RunConfig, list[Reason]]:
    """Return the settings by which a run would be trained here now, and for each where it comes from and why.

    `load_run` says what its file says; of a run that has checkpoints they decide what rules don't decide again.
    """
    return with_kept(*load_run(name, overrides))


def with_kept(
    config: RunConfig, reasons: Sequence[Reason], here: RunFolder | None = None
) -> tuple[RunConfig, list[Reason]]:
    """Return the settings with those that the run's checkpoints keep; of a run that hasn't begun the same."""
    here = here or RunFolder(config.run_dir)
    if not list_checkpoints(config.run_dir):
        return config, list(reasons)
    from headwater.train.resume import newest_state, values_from_start  # reads checkpoints: few forecasts need it

    if (state := newest_state(config.run_dir, here.state)) is None:
        return config, list(reasons)
    kept = values_from_start(state, train_plan(config), _always_by_rule(here, reasons))
    whys = [_kept(each, kept[each.setting], config) if each.setting in kept else each for each in reasons]
    return with_values(config, kept), whys


def _kept(reason: Reason, value: object, config: RunConfig) -> Reason:
    would_be = f"for {config.train.num_steps} steps it would be {'off' if reason.value is None else reason.value}"
    return replace(reason, value=value, why=f"kept from the run's start, when the rule gave it; {would_be}")


def _always_by_rule(here: RunFolder, reasons: Sequence[Reason]) -> set[str]:
    """Return the settings with a rule that nobody sets, nor did when the run began."""
    try:
        before = saved(here.run, here.json)[1]
    except ConfigError:  # none there, or damaged: it is written again
        return set()
    given = {each.setting for each in [*reasons, *before] if each.origin in ("user", "recipe")}
    return {each.setting for each in reasons if each.setting in RULES} - given
