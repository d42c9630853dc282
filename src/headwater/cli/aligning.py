"""Runs that are made of others: by rewards, by our loop or TRL's, and by TRL of pairs of answers."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from headwater.checkpoint.lock import owned
from headwater.checkpoint.verify import model_digest
from headwater.cli.arguments import MAX_ANSWER_TOKENS, STOPPED_BY_SIGNAL
from headwater.cli.terminal import estimated, say
from headwater.downstream.derived import make_derived_run, require_unused, save_model
from headwater.downstream.learned_reward import MODEL, learned_reward
from headwater.downstream.lines import divided
from headwater.downstream.preference import Pair, read_pairs
from headwater.downstream.prompts import chat_prompts, plain_prompts
from headwater.downstream.rewards import Reward, read_questions, require_answers, reward_named
from headwater.downstream.rl import RESULT, Reinforcement, RlResult, RlSettings, Task
from headwater.downstream.samples import Writing
from headwater.downstream.trl_harness import trl_offline
from headwater.downstream.trl_rewards import reinforce_by_trl
from headwater.errors import ConfigError
from headwater.host.waiting import sleep_under_load
from headwater.model.transformer import Transformer
from headwater.runs.finish import export_stage, load_model
from headwater.runs.paths import write_kept
from headwater.runs.run_config import config_of_run
from headwater.runs.stages import checkpoint_of
from headwater.tokenizer.tokenizer import Tokenizer

Say = Callable[[str], None]


@contextmanager
def _trl_folders(base: Path, folder: Path, say: Say) -> Iterator[tuple[Path, Path]]:
    """Yield the export of a run and a folder in which TRL may write, holding the lock of the new run's folder."""
    with owned(folder), TemporaryDirectory() as work:
        yield export_stage(config_of_run(base), say), Path(work)


def keep_derived(base: Path, path: Path, result: Any, model: Transformer, steps: int, identity: dict[str, Any]) -> None:
    """Make the folder of `path` a run: what was found is written there, then the model."""
    make_derived_run(base, path.parent, steps)
    write_kept(path, result)  # first: a folder that has its model is done
    save_model(path.parent, model, steps, identity)


@dataclass(frozen=True)
class LearningInputs:
    """The export of a run, its model and tokenizer; pairs to learn from and to measure; where TRL may write."""

    start: tuple[Path, Transformer, Tokenizer]
    pairs: tuple[list[Pair], list[Pair]]
    digest: str
    work: Path


@contextmanager
def learning(
    base: Path, folder: Path, pairs: Path, held_out: Path | None, seed: int, say: Say
) -> Iterator[LearningInputs]:
    """Yield what TRL learns from, holding the lock of the new folder. Nothing is written before the pairs are read."""
    trl_offline()
    model, tokenizer = load_model(base)
    read = partial(read_pairs, tokenizer=tokenizer, seq_len=model.settings.seq_len)
    found = divided(read(pairs), read(held_out) if held_out else None, seed)
    with _trl_folders(base, folder, say) as (exported, work):
        yield LearningInputs((exported, model, tokenizer), found, model_digest(checkpoint_of(base)), work)


@dataclass(frozen=True)
class RewardedPrompts:
    """Files of prompts, what an answer is worth and how long it may be; `plain` ones begin a sentence."""

    prompts: Path
    reward: str
    held_out: Path | None = None
    plain: bool = False
    max_tokens: int = MAX_ANSWER_TOKENS


def reinforce(
    base: Path, run_dir: Path, given: RewardedPrompts, settings: RlSettings, say: Say, trl: str | None = None
) -> RlResult:
    """Align a run in another folder, and return what that changed; end the process where a signal stopped it."""
    job = _job(base, given, settings)
    if trl is not None:
        if given.plain:
            raise ConfigError("--trl answers a user's prompts; leave out --plain")
        require_unused(run_dir)
        with _trl_folders(base, run_dir, say) as (exported, work):
            by_trl = reinforce_by_trl(job, trl, exported, work, say)
            identity = {"trl": trl, **job.identity}
            keep_derived(base, run_dir / RESULT, by_trl, job.model, settings.num_steps, identity)
        return by_trl
    with sleep_under_load(), owned(run_dir) as owner:
        make_derived_run(base, run_dir, settings.num_steps)
        result = job.run(run_dir, say, owner.require)
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    return result


def _job(base: Path, given: RewardedPrompts, settings: RlSettings) -> Reinforcement:
    if ":" in given.reward:
        sys.path.insert(0, str(Path.cwd()))  # where a user's function lies
    held_out = read_questions(given.held_out) if given.held_out else None
    trained, measured = divided(read_questions(given.prompts), held_out, settings.seed)
    require_answers(given.reward, [*trained, *measured])
    start, tokenizer = load_model(base)
    made = plain_prompts(tokenizer) if given.plain else chat_prompts(tokenizer)
    worth = _reward(given.reward, tokenizer)
    task = Task(trained, measured, worth, made.ids_of, Writing(given.max_tokens, made.ends))
    identity = {"start": model_digest(checkpoint_of(base)), "reward": given.reward, "plain": given.plain}
    return Reinforcement(copy.deepcopy(start), start, tokenizer, task, settings, identity)


def _reward(named: str, tokenizer: Tokenizer) -> Reward:
    """Return the reward of a name, or that of a folder which has learned one."""
    if not Path(named).is_dir():
        return reward_named(named)
    if not (Path(named) / MODEL).is_dir():
        raise ConfigError(f"{named} has no reward model; `headwater downstream reward` makes one")
    return learned_reward(Path(named) / MODEL, tokenizer)


def print_result(result: RlResult, run_dir: Path) -> None:
    before, after = result.before, result.after
    say(f"reward on {before.mean.num} held-out prompts: {estimated(before.mean)} before, {estimated(after.mean)} after")
    say(f"gain {estimated(result.gain)}; KL to the start {estimated(result.kl_to_start)} nats an answer")
    say(f"prompts with a right answer: {estimated(before.passed)} before, {estimated(after.passed)} after")
    say(f"{run_dir} has the new model")
