"""Verbs about what comes after a base model: downstream sft, dpo, reward, rl, knowledge."""

from __future__ import annotations

import copy
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, argument, flag, folder_of, option
from headwater.cli.terminal import print_json, say, say_beside
from headwater.cli.verbs import App
from headwater.errors import ConfigError, DataError

if TYPE_CHECKING:
    from headwater.downstream.preference import Pair
    from headwater.downstream.rewards import Question, Reward
    from headwater.downstream.rl import RlResult
    from headwater.intervals import Estimate
    from headwater.model.transformer import Transformer
    from headwater.runs.run_config import RunConfig
    from headwater.tokenizer.tokenizer import Tokenizer

Item = TypeVar("Item", "Pair", "Question")
_OFFLINE_NAMES = (
    "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "TRL_EXPERIMENTAL_SILENCE",
)
OFFLINE = dict.fromkeys(_OFFLINE_NAMES, "1")
"What trl and its libraries must find in the environment when they are imported: they send nothing, and fetch nothing."
HELD_OUT_FRACTION, MAX_HELD_OUT = 0.2, 64

TunedRun = Annotated[str, argument("RUN", "The run to begin from: its folder, file or recipe.")]


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
    from headwater.downstream.derived import make_derived_run, require_unused, save_model
    from headwater.downstream.preference import PreferenceSettings
    from headwater.downstream.preference import dpo as learn
    from headwater.runs.paths import write_kept

    settings, base = PreferenceSettings(steps, pairs_per_step, lr, beta, seed), folder_of(run)
    run_dir = _beside(base, name, "dpo")
    require_unused(run_dir)
    with _learning(base, run_dir, pairs, held_out, seed, say_beside(as_json)) as given:
        model, result = learn(*given.start, *given.pairs, settings, given.work)
        make_derived_run(base, run_dir)
        write_kept(run_dir / "preference.json", result)  # first: a folder that has its model is done
        save_model(run_dir, model, steps, {"start": given.digest, "dpo": asdict(settings)})
    if as_json:
        return print_json(asdict(result))
    say(f"preferred answers are the likelier ones of {_shown(result.likelier_before)} held-out pairs before, "
        f"{_shown(result.likelier_after)} after")  # fmt: skip
    say(f"they gained more than the others in {_shown(result.accuracy)}; {run_dir} has the new model")


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
    from headwater.downstream.derived import copy_files
    from headwater.downstream.learned_reward import MODEL, learn_reward
    from headwater.downstream.preference import PreferenceSettings
    from headwater.runs.paths import write_kept

    settings, base = PreferenceSettings(steps, pairs_per_step, lr, seed=seed), folder_of(run)
    folder = _beside(base, name, "reward")
    if (folder / MODEL).exists():
        raise ConfigError(f"{folder} has a reward model already; choose another --name")
    with _learning(base, folder, pairs, held_out, seed, say_beside(as_json)) as given:
        result = learn_reward(*given.start, *given.pairs, settings, given.work)
        write_kept(folder / "reward.json", result)
        copy_files(given.work / "result", folder / MODEL)
    if as_json:
        return print_json(asdict(result))
    say(f"the preferred answer has the higher score in {_shown(result.before)} held-out pairs before, "
        f"{_shown(result.accuracy)} after; {folder} has the reward model")  # fmt: skip


@dataclass(frozen=True)
class _Learning:
    """The export of a run, its model and tokenizer; pairs to learn from and to measure; where TRL may write."""

    start: tuple[Path, Transformer, Tokenizer]
    pairs: tuple[list[Pair], list[Pair]]
    digest: str
    work: Path


@contextmanager
def _learning(
    base: Path, folder: Path, pairs: Path, held_out: Path | None, seed: int, say: Callable[[str], None]
) -> Iterator[_Learning]:
    """Yield what TRL learns from, holding the lock of the new folder. Nothing is written before the pairs are read."""
    from tempfile import TemporaryDirectory

    from headwater.checkpoint.lock import owned
    from headwater.checkpoint.verify import model_digest
    from headwater.downstream.preference import read_pairs, trl_offline
    from headwater.runs.finish import export_stage, load_model
    from headwater.runs.run_config import config_of_run
    from headwater.runs.stages import final_checkpoint

    trl_offline()
    model, tokenizer = load_model(base)
    read = partial(read_pairs, tokenizer=tokenizer, seq_len=model.settings.seq_len)
    trained, measured = _divided(read(pairs), read(held_out) if held_out else None, seed)
    start = (export_stage(config_of_run(base), say), model, tokenizer)
    with owned(folder), TemporaryDirectory() as work:
        yield _Learning(start, (trained, measured), model_digest(final_checkpoint(base)), Path(work))


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
    max_tokens: Annotated[int, option("N", "An answer that is longer is cut off and worth 0.", min=1)] = 32,
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
    import torch

    from headwater.checkpoint.lock import owned
    from headwater.checkpoint.verify import model_digest
    from headwater.downstream.derived import make_derived_run
    from headwater.downstream.prompts import chat_prompts, plain_prompts
    from headwater.downstream.rewards import read_questions, require_answers, reward_named
    from headwater.downstream.rl import Reinforcement, RlSettings, Task
    from headwater.downstream.samples import Writing
    from headwater.host.waiting import sleep_under_load
    from headwater.runs.finish import load_model
    from headwater.runs.stages import final_checkpoint

    if ":" in reward:
        sys.path.insert(0, str(Path.cwd()))  # where a user's function lies
    settings = RlSettings(steps, prompts_per_step, answers, lr, seed, save_every, min_passed)
    base = folder_of(run)
    run_dir = _beside(base, name, "rl")
    trained, measured = _divided(read_questions(prompts), read_questions(held_out) if held_out else None, seed)
    require_answers(reward, [*trained, *measured])
    start, tokenizer = load_model(base)
    made = plain_prompts(tokenizer) if plain else chat_prompts(tokenizer)
    worth = _learned(Path(reward), tokenizer) if Path(reward).is_dir() else reward_named(reward)
    task = Task(trained, measured, worth, made.ids_of, Writing(max_tokens, made.ends))
    identity = {"start": model_digest(final_checkpoint(base)), "reward": reward, "plain": plain}
    job = Reinforcement(copy.deepcopy(start), start, tokenizer, task, settings, identity)
    with sleep_under_load(torch.get_num_threads()), owned(run_dir) as owner:
        make_derived_run(base, run_dir)
        result = job.run(run_dir, say_beside(as_json), owner.require)
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    print_json(asdict(result)) if as_json else _print_result(result, run_dir)


def _beside(base: Path, name: str | None, stage: str) -> Path:
    """Return the folder, beside the run `base`, of what is made of it."""
    from headwater.runs.run_config import NAME_RULE, is_run_name

    name = name or f"{base.resolve().name}-{stage}"
    if not is_run_name(name):
        raise ConfigError(f"--name {name!a} can't name a run: {NAME_RULE}")
    return base.with_name(name)


def follow(config: RunConfig) -> None:
    """Align a tuned run as its file says, in a run beside it, and examine what each stage since its base changed."""
    from headwater.checkpoint.layout import list_checkpoints
    from headwater.cli.examining import KEPT, keep_stages
    from headwater.downstream.knowledge import Stages
    from headwater.downstream.rewards import write_questions
    from headwater.downstream.settings import CAPITALS
    from headwater.runs.paths import read_kept
    from headwater.samples.almanac.questions import rewarded, split_countries

    settings, aligned, held_out = config.downstream, config.run_dir.with_name(f"{config.name}-rl"), None
    assert settings is not None
    prompts, seed = Path(settings.prompts), config.corpus.seed
    if settings.prompts == CAPITALS:
        prompts, held_out = (config.run_dir / "data" / f"{kind}.jsonl" for kind in ("prompts", "held-out-prompts"))
        for path, questions in zip((prompts, held_out), rewarded(split_countries(seed)), strict=True):
            write_questions(path, questions)
    say(f"aligning: {aligned}")
    rl(str(config.run_dir), prompts, settings.reward, aligned.name, held_out, steps=settings.num_steps)
    say("what each stage changed:")
    bases = [config.base] if config.base is not None and list_checkpoints(Path(config.base)) else []  # runs alone
    knowledge(str(aligned), [*bases, str(config.run_dir)], seed)
    found = read_kept(aligned / KEPT, Stages)
    if found is not None:
        keep_stages(found, config.run_dir)
    say(f"talk to it: headwater chat --run {aligned}")


def _learned(folder: Path, tokenizer: Tokenizer) -> Reward:
    os.environ.update(OFFLINE)
    from headwater.downstream.learned_reward import MODEL, learned_reward

    if not (folder / MODEL).is_dir():
        raise ConfigError(f"{folder} has no reward model; `headwater downstream reward` makes one")
    return learned_reward(folder / MODEL, tokenizer)


def _print_result(result: RlResult, run_dir: Path) -> None:
    before, after = result.before, result.after
    say(f"reward on {before.mean.num} held-out prompts: {_shown(before.mean)} before, {_shown(after.mean)} after")
    say(f"gain {_shown(result.gain)}; KL to the start {_shown(result.kl_to_start)} nats an answer")
    say(f"prompts with a right answer: {_shown(before.passed)} before, {_shown(after.passed)} after")
    say(f"{run_dir} has the new model")


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
    from headwater.cli.examining import examined, keep_stages
    from headwater.downstream.knowledge import compared

    folders = [folder_of(each) for each in [*(before or []), run]]
    found = compared(examined(folders, seed, say_beside(as_json)))
    keep_stages(found, folders[-1])
    if as_json:
        return print_json(asdict(found))
    names = [stage.run[:18] for stage in found.stages]
    say("".join([" " * 46, *(f"{name:>20}" for name in names)]))
    for row in found.table:
        say("".join([f"{row.measure:46}", *(f"{_percent(value):>20}" for value in row.values)]))
    bits = [stage.bits_per_byte for stage in found.stages]
    say(f"{'bits per byte of the first run’s held-out text':46}" + "".join(f"{_bits(each):>20}" for each in bits))


def _percent(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.0f}–{100 * value.high:.0f})"


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _divided(items: list[Item], held_out: list[Item] | None, seed: int) -> tuple[list[Item], list[Item]]:
    """Return those to train on and some to measure; no prompt is in both."""
    prompts = list(dict.fromkeys(each.prompt for each in items))
    if held_out is not None:
        if both := {each.prompt for each in held_out}.intersection(prompts):
            raise DataError(f"{len(both)} held-out prompts are also trained on, such as {min(both)!a:.120}")
        return items, held_out
    num_held_out = min(MAX_HELD_OUT, round(HELD_OUT_FRACTION * len(prompts)))
    if num_held_out < 2:
        raise ConfigError(f"{len(prompts)} prompts are too few to hold some out for measuring; give --held-out FILE")
    shuffled = random.Random(f"held out {seed}").sample(prompts, len(prompts))
    place_of = {prompt: place for place, prompt in enumerate(shuffled)}
    ordered = sorted(items, key=lambda each: place_of[each.prompt])
    num_measured = sum(place_of[each.prompt] < num_held_out for each in items)
    return ordered[num_measured:], ordered[:num_measured]


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
