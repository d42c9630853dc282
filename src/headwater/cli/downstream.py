"""Verbs about what comes after a base model: downstream sft, dpo, reward, rl, knowledge; what a run file asks for."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from headwater.cli.arguments import (
    MAX_ANSWER_TOKENS,
    OFFLINE,
    AsJson,
    TunedRun,
    argument,
    flag,
    folder_beside,
    folder_of,
    option,
)
from headwater.cli.terminal import estimated, print_json, say, say_beside, table
from headwater.cli.verbs import App
from headwater.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headwater.downstream.knowledge import Stages
    from headwater.intervals import Estimate
    from headwater.runs.run_config import RunConfig


Pairs = Annotated[Path, option("FILE", "JSON lines, each with prompt, chosen and rejected answer.")]
HeldOutPairs = Annotated[Path | None, option("FILE", "Pairs to measure, never trained on; else a fifth of --pairs.")]
Steps = Annotated[int, option("N", "Number of updates.", min=1)]
PairsPerStep = Annotated[int, option("N", "Pairs of an update.", min=1)]
OrderSeed = Annotated[int, option("N", "Decides the order of the pairs.")]


def add_to(app: App) -> None:
    downstream = App("Tune and align a model, and measure what each stage changed.")
    for verb in (sft, dpo, reward, rl, knowledge):
        downstream.verb(verb)
    app.add_typer(downstream, name="downstream")


def sft(
    run: Annotated[str, argument("RUN", "The run to tune: its folder, file or recipe.")],
    talks: Annotated[list[str], option("PATH", "A file or folder of conversations (JSON lines); may be repeated.")],
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
    from headwater.cli.sft import write_sft_file

    path = write_sft_file(name, folder_of(run), talks, replay, say)
    say(f"wrote {path}, which this runs; to change a setting edit it, then: headwater run {path}")
    do_stages(str(path))


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


def follow(config: RunConfig) -> None:
    """Align a tuned run as its file says, in a run beside it, and examine what each stage since its base changed."""
    from headwater.checkpoint.layout import list_checkpoints
    from headwater.cli.aligning import RewardedPrompts, print_result, reinforce
    from headwater.cli.examining import keep_stages
    from headwater.downstream.rewards import write_questions
    from headwater.downstream.rl import RlSettings
    from headwater.downstream.settings import CAPITALS
    from headwater.samples.almanac.questions import rewarded, split_countries

    settings, aligned, held_out = config.downstream, config.run_dir.with_name(f"{config.name}-rl"), None
    assert settings is not None
    prompts, seed = Path(settings.prompts), config.corpus.seed
    if settings.prompts == CAPITALS:
        prompts, held_out = (config.run_dir / "data" / f"{kind}.jsonl" for kind in ("prompts", "held-out-prompts"))
        for path, questions in zip((prompts, held_out), rewarded(split_countries(seed)), strict=True):
            write_questions(path, questions)
    say(f"aligning: {aligned}")
    given = RewardedPrompts(prompts, settings.reward, held_out)
    print_result(reinforce(config.run_dir, aligned, given, RlSettings(settings.num_steps), say), aligned)
    say("what each stage changed:")
    bases = [config.base] if config.base is not None and list_checkpoints(Path(config.base)) else []  # runs alone
    found = compare([*map(Path, bases), config.run_dir, aligned], seed, say)
    print_table(found)
    keep_stages(found, config.run_dir)
    say(f"talk to it: headwater chat --run {aligned}")


def knowledge(
    run: TunedRun,
    before: Annotated[list[str] | None, option("RUN", "A stage before it; may be repeated, the base first.")] = None,
    seed: Annotated[int, option("N", "Which countries tuning named: that of the conversations.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Examine which facts a tuned model says, and which it invents.

    It is asked for capitals of real and of made-up countries, named in tuning or not, and so are the stages before it.
    RUN/knowledge.json has all figures, and the report shows them.
    """
    found = compare([folder_of(each) for each in [*(before or []), run]], seed, say_beside(as_json))
    print_json(asdict(found)) if as_json else print_table(found)


def compare(folders: Sequence[Path], seed: int, say: Callable[[str], None]) -> Stages:
    """Examine a run and the stages before it, and keep what was found in the run's folder."""
    from headwater.cli.examining import examined, keep_stages
    from headwater.downstream.knowledge import compared

    found = compared(examined(folders, seed, say))
    keep_stages(found, folders[-1])
    return found


def print_table(found: Stages) -> None:
    rows = [["", *(stage.run[:24] for stage in found.stages)]]
    rows += [[row.measure, *map(_percent, row.values)] for row in found.table]
    bits = (stage.bits_per_byte for stage in found.stages)
    table(
        [*rows, ["bits per byte of the first run’s held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)]]
    )


def _percent(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.0f}–{100 * value.high:.0f})"
