"""headwater plan RUN: what a run will cost here and how good it will be, before its first step."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from headwater.cli.terminal import card, energy_lines, hours_interval, interval, print_json
from headwater.core.errors import CheckpointError
from headwater.core.numbers import count, duration, plural
from headwater.machine.parallel.settings import fewest_ranks
from headwater.machine.ranks.mesh import LAYER_AXES, STATE_AXES, Mesh
from headwater.plan.forecast.result import PREPARATION, TRAINING_PARTS
from headwater.plan.run_plan import PlanOptions, plan_run
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.run_config import RunConfig, train_plan
from headwater.train.checkpoint.layout import list_checkpoints, require_from_training

PARTS = {name: name for name in (*TRAINING_PARTS, PREPARATION, "start")} | {"after": "after training"}
"What the time is the sum of, as a card names it."
LEAST_SECONDS = 0.5
LIMITS = {
    "over_max_hours": ("max_hours", "", "to take more than {:g} hours"),
    "over_max_money": ("max_money", "money", "to cost more than {:g}"),
    "misses_target_loss": ("target_loss", "held-out loss", "to miss a loss of {:g}"),
    "over_memory": ("memory_bytes", "", "to need more memory than there is"),
}
"By chance: the limit, the quantity that says why it isn't known, and the words."


def run(run: str, overrides: list[str], options: PlanOptions, ranks: str, hardware: str, as_json: bool) -> None:
    """Forecast hours, money, energy, carbon, memory and loss of a run, each with its interval.

    `ranks` are how many train it, on one machine or on several; "" is as few as [parallel] needs. `hardware` are
    devices, else those of this machine.
    """
    config, _ = load_with_kept(run, overrides)
    require_from_training(config.run_dir)
    if ranks or hardware or fewest_ranks(config.parallel) > 1:
        from headwater.cli.amounts import parse_devices  # the plan of one rank loads no layouts
        from headwater.plan.forecast.device import read_devices
        from headwater.plan.layout import layout_here

        table = read_devices(options.costs.hardware) if hardware else {}
        device, place = parse_devices(hardware, ranks, fewest_ranks(config.parallel), table)
        options = replace(options, layout=layout_here(config, place, device), device=device)
    plan = plan_run(config, options)
    result = plan.fields() | _resume(config, plan.step_seconds)
    if as_json:
        return print_json(result)
    ladder = shlex.join(["headwater", "ladder", run, *overrides])
    lines = [(name, text.replace("headwater ladder RUN", ladder)) for name, text in plan_card(result)]
    card(f"plan · {result['name']}", lines)


def _resume(config: RunConfig, step_seconds: float) -> dict[str, Any]:
    """Return from which step a run that was begun resumes and what is left, or why it can't; {} of any other."""
    if not list_checkpoints(config.run_dir):
        return {}
    from headwater.train.resume import require_settings

    try:
        step = require_settings(config.run_dir, train_plan(config))
    except CheckpointError as error:
        return {"resume": {"refused": str(error)}}
    num_left, newest = config.train.num_steps - step, list_checkpoints(config.run_dir)[0][0]
    left = {"steps_left": num_left, "seconds_left": num_left * step_seconds}
    return {"resume": {"step": step, **left, "steps_again": newest - step}}


def _resume_lines(resume: dict[str, Any]) -> list[tuple[str, str]]:
    if "refused" in resume:
        lines = [*resume["refused"].splitlines(), "Below, a new run with these settings"]
        return [("" if place else "begun", line) for place, line in enumerate(lines)]
    left = f"{plural(resume['steps_left'], 'step')} left, about {duration(resume['seconds_left'])}"
    step, num_again = resume["step"], resume["steps_again"]
    # a plan doesn't read the text, for which a run may still refuse to resume
    lines = [("begun", f"resumes from step {step}, {left}, if its text is unchanged. Below, all of its steps")]
    if not resume["steps_left"]:
        lines = [("trained", f"to step {step}, its last. Below, all of its steps")]
    if num_again:
        again = f"steps {step + 1} to {step + num_again} are trained again"
        lines.append(("", f"{again}, and the checkpoints after step {step} put aside"))
    return lines


def plan_card(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the card: medians, P10 to P90, and where each number comes from."""
    counts, how = result["counts"], result["how"]
    lines = [
        *(_resume_lines(result["resume"]) if "resume" in result else []),
        (
            "run",
            f"{count(counts['params'])} parameters, {count(counts['tokens'])} tokens "
            f"({counts['tokens_per_parameter']:.1f} a parameter), {counts['flops']:.2e} FLOPs"
            + (f"; at most {counts['epochs']:.2g} epochs of a source" if counts["epochs"] else ""),
        ),
        *(("missing text", why) for why in result["missing_text"]),
        *_of_ranks(result),
        ("time", hours_interval(result["hours"])),
        ("", how["hours"]),
        ("", _parts(result["seconds"])),
        ("training time", f"{hours_interval(result['training']['hours'])}, without what is before and after it"),
        ("memory", interval(result["memory_gb"], "GB a rank" if "ranks" in result else "GB")),
        ("", how["memory_gb"]),
        *energy_lines(result["energy_kwh"], result["kg_co2"]),
        ("", how["energy_kwh"]),
        ("money", interval(result["money"], "USD") if result["money"] else how["money"]),
    ]
    if result.get("from_base"):
        lines += lines_from_base(result["from_base"])
    else:
        unit = result["loss_unit"].replace("_", " ")
        lines.append(("held-out loss", interval(result["loss"], unit) if result["loss"] else how["loss"]))
    return [*lines, *_chances(result), *(("note", note) for note in result["notes"])]


def lines_from_base(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return both losses of a run from a base, and its break-even, with their sources."""
    lines = []
    for name, key in (("new text", "new"), ("old text", "old")):
        band, how = found[key], found["how"][key]
        lines += [(name, interval(band, "bits per byte")), ("", how)] if band else [(name, how)]
    tokens, how = found["break_even"], found["how"]["break_even"]
    if tokens:
        p10, p50, p90 = (count(tokens[name]) for name in ("p10", "p50", "p90"))
        how = f"from scratch {p50} tokens would be as good ({p10} to {p90}): {how}"
    return [*lines, ("break-even", how)]


def _parts(seconds: dict[str, Any]) -> str:
    """Return what the time is the sum of, the medians."""
    found = ((shown, seconds[name]["p50"]) for name, shown in PARTS.items())
    return ", ".join(f"{part} {duration(median)}" for part, median in found if median >= LEAST_SECONDS)


def _of_ranks(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how several ranks lie, and why."""
    if "ranks" not in result:
        return []
    sizes = dict(result["ranks"])
    machines, mesh = plural(sizes.pop("machines"), "machine"), Mesh(**sizes)
    parts, layers = mesh.size(*STATE_AXES), mesh.size(*LAYER_AXES)
    copies = "one copy" if mesh.replicate == 1 else f"{mesh.replicate} copies"
    held = "whole on one rank" if parts == 1 else f"divided among {parts} ranks"
    stages = f"in {mesh.num_stages} stages of layers, each stage {held}" if mesh.pipeline > 1 else f"each {held}"
    weights = f"{copies} of the weights, {stages if mesh.replicate > 1 or mesh.pipeline > 1 else held}"
    work = f"; {layers} ranks share the work on each sequence" if layers > 1 else ""
    return [
        ("ranks", f"{mesh.world_size} on {machines}: {weights}{work}"),
        ("", result["how"]["ranks"]),
    ]


def _chances(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how likely each limit is exceeded, or why that isn't known."""
    lines = []
    for name, (limit, quantity, words) in LIMITS.items():
        chance, most = result["probabilities"][name], result["limits"][limit]
        if chance is not None:
            lines.append(("chance", f"{chance:.0%} {words.format(most)}"))
        elif most is not None and quantity:
            option = f"--{limit.replace('_', '-')}"
            lines.append(("note", f"how likely it breaks {option} isn't known: see {quantity}"))
    return lines
