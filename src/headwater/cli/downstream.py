"""Verbs about what comes after a base model: downstream sft, dpo, rl."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from headwater.cli.terminal import estimated, print_json, say, say_beside, table
from headwater.cli.verbs import (
    MAX_ANSWER_TOKENS,
    OFFLINE,
    STOPPED_BY_SIGNAL,
    App,
    AsJson,
    Overrides,
    TunedRun,
    argument,
    flag,
    folder_of,
    option,
)

Pairs = Annotated[Path, option("FILE", "JSON lines, each with prompt, chosen and rejected answer.")]
HeldOutPairs = Annotated[Path | None, option("FILE", "Pairs to measure, never trained on; else a fifth of --pairs.")]
Steps = Annotated[int, option("N", "Number of updates.", min=1)]
PairsPerStep = Annotated[int, option("N", "Pairs of an update.", min=1)]
OrderSeed = Annotated[int, option("N", "Decides the order of the pairs.")]


def add_to(app: App) -> None:
    downstream = App("Tune and align a model, and measure what that changed.")
    for verb in (sft, dpo, rl):
        downstream.verb(verb)
    app.add_typer(downstream, name="downstream")


def sft(
    run: Annotated[str, argument("RUN", "The run to tune: its folder, file or recipe.")],
    talks: Annotated[list[str], option("PATH", "A file or folder of conversations (JSON lines); may be repeated.")],
    overrides: Overrides = None,
    name: Annotated[str | None, option("NAME", "Name of the new run; RUN-sft where none is given.")] = None,
    replay: Annotated[
        float, option("X", "Share of the loss that is the run's own text, against forgetting.", min=0, max=1)
    ] = 0.5,
) -> None:
    """Teach a model to answer: train it on conversations.

    Of these it learns what the assistant says. It writes NAME.toml and runs it; the same command, or headwater run
    NAME.toml, resumes.
    """
    from headwater.cli.running import do_stages
    from headwater.runs.library.tuning import write_tuning_file

    path = write_tuning_file(run, talks, name, replay, say, overrides or [])
    say(f"wrote {path}, which this runs; to change a setting edit it, then: headwater run {path}")
    do_stages(str(path))


def rl(
    run: TunedRun,
    prompts: Annotated[Path, option("FILE", "JSON lines, each with a prompt and its answer.")],
    reward: Annotated[str, option("NAME", "One of exact, number, form (a regular expression), or module:function.")],
    name: Annotated[str | None, option("NAME", "Name of the new run; RUN-rl where none is given.")] = None,
    held_out: Annotated[
        Path | None, option("FILE", "Prompts to measure, never trained on; else a fifth of --prompts.")
    ] = None,
    plain: Annotated[bool, flag("--plain", "Prompts begin a sentence, as for a base; else they are a user's.")] = False,
    steps: Steps = 40,
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
    as_json: AsJson = False,
) -> None:
    """Make answers likelier that a program finds right.

    Reinforcement from verifiable rewards: each update compares several answers to a prompt. The same command resumes.
    The new run is a run folder like any other; its rl.json has rewards before and after.
    """
    from headwater.cli.running import print_rewards
    from headwater.downstream.rl import RlSettings
    from headwater.runs.downstream import RewardedPrompts, read_prompts, reinforce
    from headwater.runs.library.arguments import folder_beside

    settings, base = RlSettings(steps, prompts_per_step, answers, lr, seed, save_every, min_passed), folder_of(run)
    run_dir = folder_beside(base, name, "rl")
    given = RewardedPrompts(*read_prompts(prompts, held_out, seed), reward, plain, max_tokens)
    result = reinforce(base, run_dir, given, settings, say_beside(as_json))
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    print_json(asdict(result)) if as_json else print_rewards(result, run_dir)


def dpo(
    run: TunedRun,
    pairs: Pairs,
    name: Annotated[str | None, option("NAME", "Name of the new run; RUN-dpo where none is given.")] = None,
    held_out: HeldOutPairs = None,
    steps: Steps = 40,
    pairs_per_step: PairsPerStep = 16,
    lr: Annotated[float, option("X", "Learning rate of AdamW.")] = 5e-5,
    beta: Annotated[float, option("X", "How near the model stays to what it was; less changes more.")] = 0.1,
    seed: OrderSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Make preferred answers likelier than others, by TRL's DPO.

    It needs the extra `post`, and no network. The new run is a run folder like any other.
    """
    os.environ.update(OFFLINE)  # before anything imports what trl must find so
    from headwater.downstream.preference import MEASURES, PreferenceSettings
    from headwater.runs.downstream import prefer
    from headwater.runs.library.arguments import folder_beside

    settings, base = PreferenceSettings(steps, pairs_per_step, lr, beta, seed), folder_of(run)
    run_dir = folder_beside(base, name, "dpo")
    result = prefer(base, run_dir, pairs, held_out, settings, say_beside(as_json))
    if as_json:
        return print_json(asdict(result))
    rows = [["of held-out pairs, the preferred answer", "before", "after"]]
    for name, words in MEASURES.items():
        rows.append([words, *(estimated(getattr(shares, name)) for shares in (result.before, result.after))])
    table(rows)
    texts = [[each.prompt, each.before, each.after, each.preferred] for each in result.examples]
    heads = [["prompt", "answer before", "answer now", "preferred"]]
    table(heads + [[text if len(text) <= 40 else f"{text[:39]}…" for text in row] for row in texts], "<<<<")
    say(f"the greedy answer changed for {estimated(result.changed)} of held-out prompts; the preferred answer gained "
        f"more than the other in {estimated(result.accuracy)} of pairs; {run_dir} has the new model")  # fmt: skip
