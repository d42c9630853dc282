"""The stage `[downstream]`: a tuned run is aligned by rewards in a run beside it, and both are examined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import ConfigError
from headwater.core.records import no_owner
from headwater.corpus.samples.almanac.questions import rewarded, split_countries
from headwater.downstream.rewards import Question, reward_named
from headwater.downstream.rl import RlResult, RlSettings
from headwater.runfile.downstream_settings import CAPITALS
from headwater.runfile.init import base_of
from headwater.runfile.paths import Require, Say
from headwater.runfile.run_config import NAME_RULE, RunConfig, config_of_run, is_run_name
from headwater.runs.aligning import RewardedPrompts, read_prompts, reinforce
from headwater.runs.examining import Stages, compare, keep_stages, require_names_apart
from headwater.runs.stages import Report, no_report
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import DERIVED, list_checkpoints
from headwater.train.checkpoint.origins import may_answer


@dataclass(frozen=True)
class Aligned:
    """The run that was aligned, what that changed, and what each stage since the base changed."""

    folder: Path
    rewards: RlResult
    stages: Stages


def align_stage(
    config: RunConfig, say: Say, require_owner: Require = no_owner, report: Report = no_report
) -> Aligned | None:
    """Align a run as its file says and examine what each stage changed; None where a signal stopped it after a save."""
    assert config.downstream is not None
    stages, settings = _stages(config), RlSettings(config.downstream.num_steps)
    say(f"aligning: {stages[-1]}")
    rewards = reinforce(config.run_dir, stages[-1], _prompts(config), settings, say)
    if rewards is None:
        return None
    found = compare(stages, config.corpus.seed, say, report)
    keep_stages(found, config.run_dir, report, require_owner)
    return Aligned(stages[-1], rewards, found)


def require_alignable(config: RunConfig) -> None:
    """Raise HeadwaterError for what can be known to fail in `align_stage` before the run has any text.

    The settings themselves don't refuse it: a run can be opened whose prompts are somewhere else by now.
    """
    _prompts(config)
    *_, aligned = stages = _stages(config)
    require_names_apart(stages)
    if not is_run_name(aligned.name):
        raise ConfigError(f"[downstream] makes a run {aligned.name!a}, a name that can't be: {NAME_RULE}")
    base = base_of(config.base, config.folders)
    if not (config.is_tuned or (base is not None and may_answer(base.origins))):
        raise ConfigError(
            "[downstream] aligns a model that answers: give the run a source of conversations (`headwater downstream "
            "sft` writes such a file), or a base that is tuned, or remove [downstream]"
        )
    if (aligned / "config.json").exists():
        made, wanted = config_of_run(aligned), (config.train.num_steps, config.downstream)
        if not (aligned / DERIVED).exists():
            raise ConfigError(f"{aligned}, which [downstream] would make, is another run; give this one another name")
        if list_checkpoints(aligned) and (made.train.num_steps, made.downstream) != wanted:
            raise ConfigError(
                f"{aligned} was aligned with another train.num_steps or [downstream] of {config.run_dir}; remove "
                f"{aligned} to have it made again, or give the run another name (name=…)"
            )


def require_prompts_fit(config: RunConfig) -> None:
    """Raise HeadwaterError where the run's tokenizer can't ask the prompts, or its model sees too little of them."""
    tokenizer = Tokenizer.load(config.folders.tokenizer)
    _prompts(config).task(tokenizer).require_fits(config.model.seq_len)


def _prompts(config: RunConfig) -> RewardedPrompts:
    settings = config.downstream
    assert settings is not None
    reward_named(settings.reward)  # what a run file says is data: a name, and neither a folder nor a function
    capitals = rewarded(split_countries(config.corpus.seed))  # raises where what is examined isn't installed
    if settings.prompts == CAPITALS:
        trained, measured = ([Question(*each) for each in pairs] for pairs in capitals)
    else:
        trained, measured = read_prompts(Path(settings.prompts), None, RlSettings.seed)
    return RewardedPrompts(trained, measured, settings.reward)


def _stages(config: RunConfig) -> list[Path]:
    """Return the folders of the models that are compared: the base, if it is a run, the run, and the aligned one."""
    base = [] if config.base is None else [Path(config.base)]
    return [*filter(list_checkpoints, base), config.run_dir, config.run_dir.with_name(f"{config.name}-rl")]
