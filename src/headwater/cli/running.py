"""What run, train, replay and evaluate show: a card before training, and one after it; of other ranks a log."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headwater.cli.explaining import heads
from headwater.cli.progress import TrainingDisplay, intervention_line, measured
from headwater.cli.terminal import card, estimated, hours_interval, interval, print_json, say, say_aside, table
from headwater.cli.verbs import STOPPED_BY_SIGNAL
from headwater.core import disk, files
from headwater.core.errors import ConfigError, HeadwaterError, LostRanksError
from headwater.core.numbers import count, duration, plural, size
from headwater.core.records import Record
from headwater.machine.device.settings import FORMATS
from headwater.machine.ranks.mesh import Place, place_of
from headwater.model.count import count_parameters
from headwater.page.report.page import is_shown, report_stage
from headwater.runfile.checking import Reason
from headwater.runfile.paths import RunFolder
from headwater.runfile.run_config import RunConfig, load_run
from headwater.runs.measures import (
    baselines,
    few_documents,
    few_targets,
    lines_since_base,
    repeated_text,
    right,
)
from headwater.runs.result import RunResult
from headwater.runs.run_data import read_run
from headwater.runs.running import Call, dry_run, replay, run
from headwater.runs.tuned import answers_messages
from headwater.tokens.skipped_rows import read_interventions
from headwater.train.checkpoint.layout import checkpoint_dir

if TYPE_CHECKING:
    from headwater.core.intervals import Estimate
    from headwater.downstream.rl import RlResult
    from headwater.runs.downstream import Aligned, Stages


AFTER_WARMUP = {"wsd": "stable, decay (wsd)", "cosine": "cosine decay", "linear": "linear decay"}


def do_stages(
    name: str,
    overrides: Sequence[str] = (),
    stop_within: float = 30.0,
    last: Literal["training", "report"] = "report",
) -> None:
    """Bring a run up to date, as far as its stage `last`; exit where a signal stopped it.

    The arguments are those of `headwater run`.
    """
    config, reasons = load_run(name, overrides)
    here = RunFolder(config.run_dir)
    place = place_of(os.environ)
    call = Call(place, partial(rank_log, config.run_dir, place), stop_within, last, report_stage, here)
    if run_with_cards(config, reasons, call).status == "stopped":
        sys.exit(STOPPED_BY_SIGNAL)


def run_with_cards(config: RunConfig, reasons: list[Reason], call: Call) -> RunResult:
    """Bring the stages of a run up to date and print what came of it; of a signal, what it stopped."""
    try:
        result = run(config, reasons, _display, say, call)
    except KeyboardInterrupt as stop:  # the command itself says how to resume
        for note in getattr(stop, "__notes__", ()):
            say_aside(note)
        if isinstance(stop.__context__, LostRanksError):  # a launcher stops those that a rank's end has left behind
            say_aside(str(stop.__context__))
        raise
    if result.status == "finished" and not call.place.rank:
        if call.last == "report":
            _closing_card(config, result, call.here or RunFolder(result.folder))
            if result.aligned is not None:
                print_aligned(result.aligned)
        else:
            say(closing_line(config, result))
    return result


def replay_and_compare(config: RunConfig) -> bool:
    """Train a run a second time, apart from it, and print whether every bit was the same; return that."""
    found = replay(config, TrainingDisplay(config.train), say)
    interventions = read_interventions(config.run_dir)
    for entry in interventions:
        say(intervention_line(entry))
    if found.difference is None:
        followed = plural(len(interventions), "intervention")
        say(f"replayed bitwise: {found.num_steps} steps, {followed}, state {found.digest}")
    else:
        say(f"differs: {found.difference}; the replay is kept in {config.run_dir}/replay-…")
    return found.difference is None


def _display(config: RunConfig) -> TrainingDisplay:
    def opening(start: Record) -> None:
        card(f"headwater · {config.name}", plan_lines(config, start))

    return TrainingDisplay(config.train, opening=opening)


def plan_lines(config: RunConfig, start: Record) -> list[tuple[str, str]]:
    """Return the card of a run that begins, by its settings and its record `start`."""
    model, parameters, train, schedule = config.model, count_parameters(config.model), config.train, config.schedule
    plan, sources, num_tokens = start["plan"], start["plan"]["sources"], start["num_tokens"]
    total = sum(source["tokens"] for source in sources.values())
    shares = {name: one.get("loss_share", one["tokens"] / total) for name, one in sources.items()}
    parts = (f"{name} {shares[name]:.0%} ({one['epochs']:.2f} epochs)" for name, one in sources.items())
    size_of = f"{count(parameters.total)} parameters ({count(parameters.embedding)} embedding)"
    shape = f"{plural(model.num_layers, 'layer')} × {model.d_model}, {heads(model)}, vocabulary {model.vocab_size}"
    tokens = f"{train.num_steps} steps × {count(train.batch_tokens)} = {count(num_tokens)} tokens"
    per_parameter = f"({num_tokens / parameters.total:.1f} a parameter)"
    of_rank = " on each rank" if plan["ranks"] > 1 else ""
    warmup = f"warm-up of {plural(schedule.warmup_steps, 'step')}, {AFTER_WARMUP[schedule.name]}"
    return [
        ("model", f"{model.family}, {size_of}, {shape}"),
        ("training", f"{tokens} {per_parameter}, {start['flops_per_token'] * num_tokens:.2e} FLOPs"),
        ("mixture", ", ".join(parts)),
        ("update", f"{config.optim.name} at learning rate {config.optim.matrix_lr:g}: {warmup}"),
        ("format", FORMATS[start["device"]["dtype"]]),
        ("", start["device"]["dtype_why"]),
        ("memory", f"{size(plan['state_bytes'])}{of_rank} for weights, gradients and optimizer state"),
        ("folder", str(config.run_dir)),
        ("settings", f"`headwater explain {shlex.quote(str(config.run_dir))}` says who set what, and why"),
    ]


def closing_line(config: RunConfig, result: RunResult) -> str:
    """Return what a training ends with: how far it came, how long that took, how good it is, where the weights are."""
    done = f"step {result.step} of {config.train.num_steps} done in {duration(result.trained_seconds)} of training"
    if result.bits_per_byte is not None:
        done += f", with {result.bits_per_byte:.3f} bits per byte on {result.scored}"
    return f"{done}; the checkpoint lies in {checkpoint_dir(config.run_dir, result.step)}"


def _closing_card(config: RunConfig, result: RunResult, here: RunFolder) -> None:
    is_longer = result.trained_seconds > result.seconds
    earlier = f" ({duration(result.trained_seconds)} of training in all)" if is_longer else ""
    run, found = shlex.quote(str(config.run_dir)), read_run(result.folder, here)
    first, second, *_ = found.prompts
    verb = "chat" if answers_messages(config) else f"next {shlex.quote(first)}"
    card(
        f"{config.name} is done in {duration(result.seconds)}{earlier}",
        [
            *evaluation_lines(result.evaluation),
            *lines_since_base(found),
            *measured(result.outcomes),
            ("report", str(config.run_dir / "report.html")),
            ("model", f"{config.folders.hf} (transformers, vLLM, TRL)"),
            ("next", f"headwater {verb} --run {run}"),
            ("", f"headwater generate {shlex.quote(second)} --run {run}"),
            ("", f"headwater corpus show {run}"),
        ],
    )


def evaluation_lines(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    bits = evaluation["bits_per_byte"]
    of_sources = {name: value for name, value in bits.items() if name != "all" and len(bits) > 2}
    named = {"all held-out text": bits["all"], **of_sources}
    lines = [("bits per byte", ", ".join(f"{name} {value:.3f}" for name, value in named.items()))]
    if few := few_documents(evaluation):
        lines.append(("", few))
    others = ", ".join(f"{name} {value:.3f}" for name, value in baselines(evaluation).items())
    if others and "bits_per_byte_real_text" in evaluation:
        lines.append(("on real text", f"{evaluation['bits_per_byte_real_text']:.3f} ({others})"))
    if repeated := repeated_text(evaluation):
        lines.append(("repeated text", repeated))
    if few := few_targets(evaluation):
        lines.append(("few tokens", few))
    if details := evaluation.get("probe_details"):
        lines.append(("probes", ", ".join(f"{name} {right(name, detail)}" for name, detail in details.items())))
    return lines


def print_evaluation(evaluation: dict[str, Any]) -> None:
    table(evaluation_lines(evaluation), "<<")


def print_aligned(found: Aligned) -> None:
    """Print what `[downstream]` of a run file made."""
    print_rewards(found.rewards, found.folder)
    say("what each stage changed:")
    print_stages(found.stages)
    say(f"talk to it: `headwater chat --run {found.folder}`; for other programs: `headwater export {found.folder}`")


def print_rewards(result: RlResult, run_dir: Path) -> None:
    before, after = result.before, result.after
    say(f"reward on {before.mean.num} held-out prompts: {estimated(before.mean)} before, {estimated(after.mean)} after")
    say(f"gain {estimated(result.gain)}; KL to the start {estimated(result.kl_to_start)} nats an answer")
    say(f"prompts with a right answer: {estimated(before.passed)} before, {estimated(after.passed)} after")
    say(f"{run_dir} has the new model")


def print_stages(found: Stages) -> None:
    rows = [["", *(stage.run[:24] for stage in found.stages)]]
    rows += [[row.measure, *map(_percent, row.values)] for row in found.table]
    bits = (stage.bits_per_byte for stage in found.stages)
    table(
        [*rows, ["bits per byte of the first run’s held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)]]
    )


def _percent(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.0f}–{100 * value.high:.0f})"


def show_dry_run(name: str, overrides: Sequence[str], as_json: bool) -> None:
    """Print what `headwater run` would do; exit with the status of what it would refuse."""
    config, reasons = load_run(name, overrides)
    found = dry_run(config, reasons, place_of(os.environ), is_shown)
    if as_json:
        print_json(found.fields())
    else:
        lines = [(each.stage, f"{each.action}: {each.why}") for each in found.stages]
        if found.plan:
            unit = "GB a rank" if "ranks" in found.plan else "GB"
            lines += [
                ("time", hours_interval(found.plan["hours"])),
                ("memory", interval(found.plan["memory_gb"], unit)),
            ]
        of_stages = {each.why for each in found.stages}
        lines += [("refused", why) for why in found.refused if why not in of_stages]
        card(f"{config.name} · nothing is written", lines)
    if found.refused:
        sys.exit(ConfigError.exit_status)


@contextmanager
def rank_log(run_dir: Path, place: Place) -> Iterator[None]:
    """Have what another rank than the first prints, inside, appended to its file.

    An error of its own comes through; that it has lost others doesn't: the first rank says so.
    """
    folder = run_dir / "logs"
    if place.rank == 0:
        if place.world_size > 1:
            say(f"what other ranks print is in {folder}")
        yield
        return
    files.make_folder(folder)
    kept = {number: os.dup(number) for number in (1, 2)}
    with disk.open_file(folder / f"rank-{place.rank}.log", "ab") as log:
        for number in kept:
            os.dup2(log.fileno(), number)
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}: rank {place.rank} of {place.world_size}", flush=True)
    try:
        yield
    except HeadwaterError as error:
        print(f"headwater: {error}", file=sys.stderr)
        if isinstance(error, LostRanksError):
            raise SystemExit(error.exit_status) from error
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in kept.items():
            os.dup2(handle, number)
            os.close(handle)
