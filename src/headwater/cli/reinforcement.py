"""headwater downstream rl: answers that are worth more get likelier."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, TunedRun, flag, folder_beside, folder_of, option
from headwater.cli.offline import OFFLINE
from headwater.cli.terminal import estimated, print_json, say, say_beside
from headwater.errors import ConfigError

if TYPE_CHECKING:
    from headwater.downstream.rewards import Reward
    from headwater.downstream.rl import Reinforcement, RlResult, RlSettings
    from headwater.tokenizer.tokenizer import Tokenizer

MAX_TOKENS = 32


def rl(
    run: TunedRun,
    prompts: Annotated[Path, option("FILE", "JSON lines, each with a prompt and its answer.")],
    reward: Annotated[
        str, option("NAME", "One of exact, number, form (a regular expression), module:function; or a reward model.")
    ],
    name: Annotated[str | None, option("NAME", "Name of the new run; RUN-rl where none is given.")] = None,
    held_out: Annotated[
        Path | None, option("FILE", "Prompts to measure, never trained on; else a fifth of --prompts.")
    ] = None,
    plain: Annotated[bool, flag("--plain", "Prompts begin a sentence, as for a base; else they are a user's.")] = False,
    steps: Annotated[int, option("N", "Number of updates.", min=1)] = 40,
    prompts_per_step: Annotated[int, option("N", "Prompts of an update.", min=1)] = 16,
    answers: Annotated[int, option("N", "Answers to each prompt.", min=2)] = 8,
    lr: Annotated[float, option("X", "Learning rate of AdamW, the same for all weights.")] = 1e-4,
    max_tokens: Annotated[int, option("N", "An answer that is longer is cut off and worth 0.", min=1)] = MAX_TOKENS,
    min_passed: Annotated[
        float, option("X", "Refuse to begin where a smaller share of prompts has a right answer.", min=0, max=1)
    ] = 0.3,
    save_every: Annotated[int, option("N", "Steps between checkpoints.", min=1)] = 10,
    seed: Annotated[int, option("N", "Decides the order of prompts and what is drawn.")] = 0,
    trl: Annotated[str | None, option("NAME", "By TRL's loop, rloo or grpo, which does not resume; else ours.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make answers likelier that a program finds right.

    Reinforcement from verifiable rewards: each update compares several answers to a prompt. The same command resumes.
    The new run is a run folder like any other; its rl.json has rewards before and after.
    """
    from headwater.downstream.rl import RlSettings

    settings = RlSettings(steps, prompts_per_step, answers, lr, seed, save_every, min_passed)
    base, given = folder_of(run), RewardedPrompts(prompts, reward, held_out, plain, max_tokens)
    run_dir = folder_beside(base, name, "rl")
    result = reinforce(base, run_dir, given, settings, say_beside(as_json), trl)
    print_json(asdict(result)) if as_json else print_result(result, run_dir)


@dataclass(frozen=True)
class RewardedPrompts:
    """Files of prompts, what an answer is worth and how long it may be; `plain` ones begin a sentence."""

    prompts: Path
    reward: str
    held_out: Path | None = None
    plain: bool = False
    max_tokens: int = MAX_TOKENS


def reinforce(
    base: Path,
    run_dir: Path,
    given: RewardedPrompts,
    settings: RlSettings,
    say: Callable[[str], None],
    trl: str | None = None,
) -> RlResult:
    """Align a run in another folder, and return what that changed; end the process where a signal stopped it."""
    import torch

    from headwater.checkpoint.lock import owned
    from headwater.downstream.derived import make_derived_run
    from headwater.host.waiting import sleep_under_load

    job = _job(base, given, settings)
    if trl is not None:
        if given.plain:
            raise ConfigError("--trl answers a user's prompts; leave out --plain")
        return _reinforce_by_trl(job, base, run_dir, trl, say)
    with sleep_under_load(torch.get_num_threads()), owned(run_dir) as owner:
        make_derived_run(base, run_dir, settings.num_steps)
        result = job.run(run_dir, say, owner.require)
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    return result


def _job(base: Path, given: RewardedPrompts, settings: RlSettings) -> Reinforcement:
    from headwater.checkpoint.verify import model_digest
    from headwater.downstream.lines import divided
    from headwater.downstream.prompts import chat_prompts, plain_prompts
    from headwater.downstream.rewards import read_questions, require_answers, reward_named
    from headwater.downstream.rl import Reinforcement, Task
    from headwater.downstream.samples import Writing
    from headwater.runs.finish import load_model
    from headwater.runs.stages import final_checkpoint

    if ":" in given.reward:
        sys.path.insert(0, str(Path.cwd()))  # where a user's function lies
    held_out = read_questions(given.held_out) if given.held_out else None
    trained, measured = divided(read_questions(given.prompts), held_out, settings.seed)
    require_answers(given.reward, [*trained, *measured])
    start, tokenizer = load_model(base)
    made = plain_prompts(tokenizer) if given.plain else chat_prompts(tokenizer)
    is_learned = Path(given.reward).is_dir()
    worth = _learned(Path(given.reward), tokenizer) if is_learned else reward_named(given.reward)
    task = Task(trained, measured, worth, made.ids_of, Writing(given.max_tokens, made.ends))
    identity = {"start": model_digest(final_checkpoint(base)), "reward": given.reward, "plain": given.plain}
    return Reinforcement(copy.deepcopy(start), start, tokenizer, task, settings, identity)


def _reinforce_by_trl(
    job: Reinforcement, base: Path, run_dir: Path, algorithm: str, say: Callable[[str], None]
) -> RlResult:
    os.environ.update(OFFLINE)  # before anything imports what trl must find so
    from headwater.cli.derived import keep_derived, trl_folders
    from headwater.downstream.derived import require_unused
    from headwater.downstream.rl import RESULT
    from headwater.downstream.trl_rewards import reinforce_by_trl

    require_unused(run_dir)
    with trl_folders(base, run_dir, say) as (exported, work):
        result = reinforce_by_trl(job, algorithm, exported, work, say)
        identity = {"trl": algorithm, **job.identity}
        keep_derived(base, run_dir / RESULT, result, job.model, job.settings.num_steps, identity)
    return result


def _learned(folder: Path, tokenizer: Tokenizer) -> Reward:
    os.environ.update(OFFLINE)
    from headwater.downstream.learned_reward import MODEL, learned_reward

    if not (folder / MODEL).is_dir():
        raise ConfigError(f"{folder} has no reward model; `headwater downstream reward` makes one")
    return learned_reward(folder / MODEL, tokenizer)


def print_result(result: RlResult, run_dir: Path) -> None:
    before, after = result.before, result.after
    say(f"reward on {before.mean.num} held-out prompts: {estimated(before.mean)} before, {estimated(after.mean)} after")
    say(f"gain {estimated(result.gain)}; KL to the start {estimated(result.kl_to_start)} nats an answer")
    say(f"prompts with a right answer: {estimated(before.passed)} before, {estimated(after.passed)} after")
    say(f"{run_dir} has the new model")
