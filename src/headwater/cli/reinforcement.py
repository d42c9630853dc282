"""headwater downstream rl: answers that are worth more get likelier."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from headwater.cli.arguments import MAX_ANSWER_TOKENS, AsJson, TunedRun, flag, folder_beside, folder_of, option
from headwater.cli.offline import OFFLINE
from headwater.cli.terminal import print_json, say_beside


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
    max_tokens: Annotated[
        int, option("N", "An answer that is longer is cut off and worth 0.", min=1)
    ] = MAX_ANSWER_TOKENS,
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
    os.environ.update(OFFLINE)  # before anything imports what trl must find so
    from headwater.cli.aligning import RewardedPrompts, print_result, reinforce
    from headwater.downstream.rl import RlSettings

    settings = RlSettings(steps, prompts_per_step, answers, lr, seed, save_every, min_passed)
    base, given = folder_of(run), RewardedPrompts(prompts, reward, held_out, plain, max_tokens)
    run_dir = folder_beside(base, name, "rl")
    result = reinforce(base, run_dir, given, settings, say_beside(as_json), trl)
    print_json(asdict(result)) if as_json else print_result(result, run_dir)
