"""Runs that are made of others, by rewards or by pairs of answers; the stage `[downstream]`, which examines both."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from headwater.core.errors import ConfigError, HeadwaterError, TokenizerError
from headwater.core.intervals import Estimate
from headwater.corpus.samples.almanac.questions import rewarded, split_countries
from headwater.downstream import preference
from headwater.downstream.preference import PreferenceResult, PreferenceSettings, read_pairs, trl_offline
from headwater.downstream.rewards import (
    Question,
    Reward,
    divided,
    read_questions,
    require_answers,
    reward_at,
    reward_named,
)
from headwater.downstream.rl import (
    RESULT,
    Reinforcement,
    RewardTask,
    RlResult,
    RlSettings,
    make_derived_run,
    require_unused,
    save_model,
)
from headwater.downstream.samples import QUESTIONS, Writing, chat_prompts, examine, plain_prompts
from headwater.evaluate.evaluator import RunEvaluator
from headwater.evaluate.scorer import Scorer
from headwater.machine.host.waiting import sleep_under_load
from headwater.runfile.init import base_of
from headwater.runfile.paths import RunFolder, Say, ignore, read_kept, write_kept
from headwater.runfile.run_config import CAPITALS, NAME_RULE, RunConfig, config_of_run, is_run_name
from headwater.runs.finish import export_stage, keep_alignment, open_evaluator
from headwater.runs.loading import load_model
from headwater.runs.stages import Report, no_report
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import DERIVED, checkpoint_of, list_checkpoints
from headwater.train.checkpoint.lock import owned
from headwater.train.checkpoint.origins import Origin, may_answer
from headwater.train.checkpoint.verify import model_digest

MAX_ANSWER_TOKENS = 32  # of an answer that is rewarded, where nobody says


@dataclass(frozen=True)
class RewardedPrompts:
    """Prompts to train on and to measure, what an answer is worth, how long it may be; `plain` ones begin a sentence.

    Raises ConfigError if there is no such reward, DataError if a prompt has no answer that it can compare with.
    """

    trained: Sequence[Question]
    measured: Sequence[Question]
    reward: str
    plain: bool = False
    max_tokens: int = MAX_ANSWER_TOKENS

    def __post_init__(self) -> None:
        _reward_of(self.reward)
        require_answers(self.reward, [*self.trained, *self.measured])

    def task(self, tokenizer: Tokenizer) -> RewardTask:
        made = plain_prompts(tokenizer) if self.plain else chat_prompts(tokenizer)
        return RewardTask(
            self.trained, self.measured, _reward_of(self.reward), made.ids_of, Writing(self.max_tokens, made.ends)
        )


def _reward_of(name: str) -> Reward:
    """Return the reward of a name, or the function that the command line gives: a run file gives names alone."""
    return reward_at(name) if ":" in name else reward_named(name)


def read_prompts(path: Path, held_out: Path | None, seed: int) -> tuple[list[Question], list[Question]]:
    """Return the prompts of a file to train on, and those to measure: of another file, or a fifth of it."""
    return divided(read_questions(path), read_questions(held_out) if held_out else None, seed)


def reinforce(base: Path, run_dir: Path, given: RewardedPrompts, settings: RlSettings, say: Say) -> RlResult | None:
    """Align a run in another folder, and return what that changed; None where a signal stopped it after a save."""
    start, tokenizer = load_model(base)
    identity = {"start": model_digest(checkpoint_of(base)), "reward": given.reward, "plain": given.plain}
    job = Reinforcement(copy.deepcopy(start), start, tokenizer, given.task(tokenizer), settings, identity)
    items, done = (job.task.questions, job.task.held_out), Origin("", "rewards", detail=Path(given.reward).name)
    with sleep_under_load(), owned(run_dir):
        make_derived_run(base, run_dir, settings.num_steps)
        if not list_checkpoints(run_dir):  # else it is resumed, or refused
            keep_alignment(base, run_dir, done, *items)
        return job.run(run_dir, say)


def prefer(
    base: Path, run_dir: Path, pairs: Path, held_out: Path | None, settings: PreferenceSettings, say: Say
) -> PreferenceResult:
    """Make a run, in a folder that has none, whose model finds preferred answers likelier, and return what changed.

    Nothing is written before the pairs are read.
    """
    require_unused(run_dir)
    trl_offline()
    model, tokenizer = load_model(base)
    read = partial(read_pairs, tokenizer=tokenizer, seq_len=model.settings.seq_len)
    found = divided(read(pairs), read(held_out) if held_out else None, settings.seed)
    with owned(run_dir), TemporaryDirectory() as work:
        exported = export_stage(config_of_run(base), say)
        identity = {"start": model_digest(checkpoint_of(base)), "dpo": asdict(settings)}
        aligned, result = preference.dpo(exported, model, tokenizer, *found, settings, Path(work))
        make_derived_run(base, run_dir, settings.num_steps)
        keep_alignment(base, run_dir, Origin("", "preferences"), *found)
        write_kept(run_dir / preference.RESULT, result)  # first: a folder that has its model is done
        save_model(run_dir, aligned, settings.num_steps, identity)
    return result


KEPT, VERSION = "knowledge.json", 3  # 2: shares of sampled answers and of refusals, too


@dataclass(frozen=True)
class Stage:
    """What one model said; `model` is the digest of its weights, bits per byte are of the first run's held-out text."""

    run: str
    stage: str
    model: str
    seed: int
    shares: dict[str, Estimate]
    bits_per_byte: float | None = None


@dataclass(frozen=True)
class Row:
    """One measure in every stage, None where it wasn't measured."""

    measure: str
    values: list[Estimate | None]


@dataclass(frozen=True)
class Stages:
    """Several models, the one before first, and what changed from one to the next as a table."""

    stages: list[Stage]
    table: list[Row]
    version: int = VERSION


def compare(folders: Sequence[Path], seed: int, say: Say, report: Report = no_report) -> Stages:
    """Examine runs, the last one's stages before it first; keep what was found in its folder, and in its report.

    Weights that an earlier call examined aren't examined again.
    """
    names = require_names_apart(folders)
    kept = [each for folder in folders for each in _kept(folder / KEPT)]
    evaluator, stages = _evaluator(folders[0], say), []
    for folder, name in zip(folders, names, strict=True):
        digest = model_digest(checkpoint_of(folder))
        known = next((each for each in kept if (each.model, each.seed, each.run) == (digest, seed, name)), None)
        if known is None:
            say(f"examining {name}")
            with sleep_under_load():
                known = _examine(folder, name, digest, seed, evaluator)
        stages.append(known)
    measures = [*(f"{each}{of}" for each in QUESTIONS for of in ("", ": wrong answers")), *stages[0].shares]
    table = [Row(each, [stage.shares.get(each) for stage in stages]) for each in dict.fromkeys(measures)]
    found = Stages(stages, table)
    keep_stages(found, folders[-1], report)
    return found


def require_names_apart(folders: Sequence[Path]) -> list[str]:
    """Return the names of the stages; raise ConfigError where two have one name, by which they are told apart."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"each stage is named once; found {', '.join(names)}")
    return names


def keep_stages(found: Stages, folder: Path, report: Report) -> None:
    """Write what was found into a run's folder, and into its report if it has one."""
    write_kept(folder / KEPT, found)
    if (folder / "report.html").exists():
        report(config_of_run(folder), ignore, RunFolder(folder))


def _kept(path: Path) -> list[Stage]:
    found = read_kept(path, Stages)
    return [] if found is None or found.version != VERSION else found.stages


def _examine(folder: Path, name: str, digest: str, seed: int, evaluator: RunEvaluator | None) -> Stage:
    model, tokenizer = load_model(folder)
    try:
        chat = chat_prompts(tokenizer)
    except TokenizerError:
        chat = None
    bits = None
    if evaluator is not None and evaluator.tokenizer.digest == tokenizer.digest:
        measured = evaluator.validate(model)
        bits = measured.get("bits_per_byte_real_text", measured["bits_per_byte"]["all"])
    config = config_of_run(folder)
    stage = "tuned" if config.is_tuned else "base" if config.init is None else "trained on"
    stage = "aligned by rewards" if (folder / RESULT).exists() else stage
    return Stage(name, stage, digest, seed, examine(Scorer(model), tokenizer, chat, seed), bits)


def _evaluator(folder: Path, say: Say) -> RunEvaluator | None:
    try:
        return open_evaluator(config_of_run(folder))
    except HeadwaterError as error:
        say(f"bits per byte are not measured: {error}")
        return None


@dataclass(frozen=True)
class Aligned:
    """The run that was aligned, what that changed, and what each stage since the base changed."""

    folder: Path
    rewards: RlResult
    stages: Stages


def align_stage(config: RunConfig, say: Say, report: Report = no_report) -> Aligned | None:
    """Align a run as its file says and examine what each stage changed; None where a signal stopped it after a save."""
    assert config.downstream is not None
    stages, settings = _stages(config), RlSettings(config.downstream.num_steps)
    say(f"aligning: {stages[-1]}")
    rewards = reinforce(config.run_dir, stages[-1], _prompts(config), settings, say)
    if rewards is None:
        return None
    found = compare(stages, config.corpus.seed, say, report)
    keep_stages(found, config.run_dir, report)
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
