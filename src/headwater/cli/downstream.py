"""Verbs about what comes after a base model: downstream sft, dpo, reward, rl, knowledge; what a run file asks for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from headwater.cli.arguments import AsJson, TunedRun, argument, folder_of, option
from headwater.cli.preferences import dpo, reward
from headwater.cli.reinforcement import rl
from headwater.cli.terminal import print_json, say, say_beside, table
from headwater.cli.verbs import App

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headwater.downstream.knowledge import Stages
    from headwater.intervals import Estimate
    from headwater.runs.run_config import RunConfig


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
