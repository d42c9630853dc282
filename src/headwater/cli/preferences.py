"""headwater downstream dpo, reward: what TRL learns of pairs of answers."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from headwater.cli.arguments import AsJson, TunedRun, folder_beside, folder_of, option
from headwater.cli.offline import OFFLINE
from headwater.cli.terminal import estimated, print_json, say, say_beside
from headwater.errors import ConfigError

Pairs = Annotated[Path, option("FILE", "JSON lines, each with prompt, chosen and rejected answer.")]
HeldOutPairs = Annotated[Path | None, option("FILE", "Pairs to measure, never trained on; else a fifth of --pairs.")]
Steps = Annotated[int, option("N", "Number of updates.", min=1)]
PairsPerStep = Annotated[int, option("N", "Pairs of an update.", min=1)]
OrderSeed = Annotated[int, option("N", "Decides the order of the pairs.")]


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
    from headwater.cli.aligning import keep_derived, learning
    from headwater.downstream.derived import require_unused
    from headwater.downstream.preference import PreferenceSettings
    from headwater.downstream.preference import dpo as learn

    settings, base = PreferenceSettings(steps, pairs_per_step, lr, beta, seed), folder_of(run)
    run_dir = folder_beside(base, name, "dpo")
    require_unused(run_dir)
    with learning(base, run_dir, pairs, held_out, seed, say_beside(as_json)) as given:
        model, result = learn(*given.start, *given.pairs, settings, given.work)
        identity = {"start": given.digest, "dpo": asdict(settings)}
        keep_derived(base, run_dir / "preference.json", result, model, steps, identity)
    if as_json:
        return print_json(asdict(result))
    say(f"preferred answers are the likelier ones of {estimated(result.likelier_before)} held-out pairs before, "
        f"{estimated(result.likelier_after)} after")  # fmt: skip
    say(f"they gained more than the others in {estimated(result.accuracy)}; {run_dir} has the new model")


def reward(
    run: TunedRun,
    pairs: Pairs,
    name: Annotated[str | None, option("NAME", "Name of the new folder; RUN-reward where none is given.")] = None,
    held_out: HeldOutPairs = None,
    steps: Steps = 40,
    pairs_per_step: PairsPerStep = 16,
    lr: Annotated[float, option("X", "Learning rate of AdamW.")] = 3e-4,
    seed: OrderSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Learn from pairs what answers are worth, by TRL's reward model.

    It needs the extra `post`, and no network. `headwater downstream rl --reward FOLDER` takes it for its reward.
    """
    os.environ.update(OFFLINE)
    from headwater.cli.aligning import learning
    from headwater.downstream.derived import copy_files
    from headwater.downstream.learned_reward import MODEL, learn_reward
    from headwater.downstream.preference import PreferenceSettings
    from headwater.runs.paths import write_kept

    settings, base = PreferenceSettings(steps, pairs_per_step, lr, seed=seed), folder_of(run)
    folder = folder_beside(base, name, "reward")
    if (folder / MODEL).exists():
        raise ConfigError(f"{folder} has a reward model already; choose another --name")
    with learning(base, folder, pairs, held_out, seed, say_beside(as_json)) as given:
        result = learn_reward(*given.start, *given.pairs, settings, given.work)
        write_kept(folder / "reward.json", result)
        copy_files(given.work / "result", folder / MODEL)
    if as_json:
        return print_json(asdict(result))
    say(f"the preferred answer has the higher score in {estimated(result.before)} held-out pairs before, "
        f"{estimated(result.accuracy)} after; {folder} has the reward model")  # fmt: skip
