"""What `headwater plan` shows: the card of a run, and those of a budget, made of what --json prints."""

from __future__ import annotations

from typing import Any

from headwater.cli.terminal import card, energy_lines, hours_interval, interval
from headwater.core.numbers import count, duration, plural, significant
from headwater.machine.ranks.mesh import LAYER_AXES, STATE_AXES, Mesh
from headwater.plan.forecast.result import PREPARATION, TRAINING_PARTS

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


Lines = list[tuple[str, str]]


def print_plan(result: dict[str, Any], ladder: str) -> None:
    """Print the plan of a run; `ladder` is the command that trains small ones for it."""
    lines = [(name, text.replace("headwater ladder RUN", ladder)) for name, text in plan_card(result)]
    card(f"plan · {result['name']}", lines)


def _resume_lines(resume: dict[str, Any]) -> Lines:
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


def plan_card(result: dict[str, Any]) -> Lines:
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


def lines_from_base(found: dict[str, Any]) -> Lines:
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


def _of_ranks(result: dict[str, Any]) -> Lines:
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
    return [("ranks", f"{mesh.world_size} on {machines}: {weights}{work}"), ("", result["how"]["ranks"])]


def _chances(result: dict[str, Any]) -> Lines:
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


# ---- of a budget

LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."
ALL_SPENT = 0.99
"Of the budget's hours: of less the card says what is left."


def print_budget(result: dict[str, Any]) -> None:
    card(f"plan · {result['name']} · {result['budget']['text']}", _budget_card(result))
    card("the run", _choice_card(result))
    print("next:", *result["next"], sep="\n")  # outside of the box, on one line each, so that it can be copied


def _budget_card(result: dict[str, Any]) -> Lines:
    """Return the lines of what is asked: money, hours, text, prices, and what was searched."""
    given, text, searched = result["budget"], result["text"], result["searched"]
    price = f"${given['usd_per_device_hour']:g} a device-hour: " if given["usd_per_device_hour"] else ""
    unique = text["unique_tokens"]
    known = "taken as unlimited: no --text-bytes" if unique is None else f"{count(unique)} tokens: {text['how']}"
    sizes = f"{searched['sizes']} sizes, of which {searched['sizes_that_fit']} fit, in {result['seconds']:.2f} s"
    return [
        ("devices", f"{given['num_devices']} × {given['device']}"),
        ("price", price + given["price_how"]),
        ("power", given["energy_how"]),
        ("hours", given["hours_how"]),
        ("budget", f"{_cost(given, 1)}, of one run whose text is prepared"),
        ("text", known),
        ("loss", result["loss"]["how"]),
        ("searched", sizes),
        *(("note", note) for note in result["notes"]),
        ("below", "medians, and in brackets P10 to P90"),
    ]


def _cost(budget: dict[str, Any], share: float) -> str:
    """Return what a part of a budget is in money, where prices are known, and time."""
    span = duration(3600 * share * budget["hours"])
    return span if budget["usd"] is None else f"${significant(share * budget['usd'])}, {span}"


def _choice_card(result: dict[str, Any]) -> Lines:
    choice, budget, unit = result["choice"], result["budget"], result["loss"]["unit"]
    model, settings = choice["shape"], choice["settings"]
    rows, micro = (settings[f"train.{name}_tokens"] // model["seq_len"] for name in ("batch", "microbatch"))
    epochs = f", {choice['epochs']:.1f} epochs" if choice["epochs"] > 1 else ""
    share = choice["repetition_costs"] / (1 + choice["repetition_costs"])
    repetition = f"; {share:.1%} of it for repetition" if share > LEAST_COST else ""
    spent = choice["hours"]["p50"] / budget["hours"]
    memory = f"{interval(choice['memory_gb'], 'GB')} of {significant(choice['memory_limit_gb'])} GB a device"
    micros = (
        f"{plural(micro, 'sequence')} a microbatch, {plural(choice['num_microbatches'], 'microbatch', 'es')} a step"
    )
    return [
        (
            "model",
            f"{count(choice['params'])} parameters: {model['num_layers']} layers, d_model {model['d_model']}, "
            f"{model['num_heads']} heads of {model['head_dim']}, d_ff {model['d_ff']}",
        ),
        (
            "tokens",
            f"{count(choice['tokens'])}, {choice['tokens_per_parameter']:.1f} a parameter, "
            f"{choice['num_steps']:,} steps of {rows} × {model['seq_len']} tokens{epochs}",
        ),
        *([("held-out loss", interval(choice["loss"], unit) + repetition)] if choice["loss"] else []),
        ("time", hours_interval(choice["hours"])),
        *([("money", f"${interval(choice['money'], '')}")] if choice["money"] else []),
        *([("left", f"{_cost(budget, 1 - spent)} of the budget")] if spent < ALL_SPENT else []),
        *energy_lines(choice["energy_kwh"], choice["kg_co2"]),
        ("memory", f"{memory}, without the pages of the text"),
        ("layout", choice["layout"]),
        ("", f"{micros}; {count(choice['tokens_per_second'])} tokens/s"),
    ]
