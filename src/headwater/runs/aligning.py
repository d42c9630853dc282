"""Runs that are made of others: by rewards, and by TRL of pairs of answers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from headwater.downstream import preference
from headwater.downstream.derived import make_derived_run, require_unused, save_model
from headwater.downstream.lines import divided
from headwater.downstream.preference import PreferenceResult, PreferenceSettings, read_pairs, trl_offline
from headwater.downstream.rewards import (
    Question,
    Reward,
    read_questions,
    require_answers,
    reward_at,
    reward_named,
)
from headwater.downstream.rl import Reinforcement, RewardTask, RlResult, RlSettings
from headwater.downstream.samples import Writing, chat_prompts, plain_prompts
from headwater.machine.host.waiting import sleep_under_load
from headwater.runfile.paths import Say, write_kept
from headwater.runfile.run_config import config_of_run
from headwater.runs.finish import export_stage, keep_alignment
from headwater.runs.loading import load_model
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import checkpoint_of, list_checkpoints
from headwater.train.checkpoint.lock import owned
from headwater.train.checkpoint.origins import Origin
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
