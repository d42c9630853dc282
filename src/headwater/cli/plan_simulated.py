"""headwater plan RUN --ranks N --simulate: what one of N ranks holds, exchanges and computes in a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace

from headwater.checkpoint.layout import require_from_training
from headwater.cli.amounts import parse_devices
from headwater.cli.terminal import card, print_json, say_beside
from headwater.device.facts import ACTIVATIONS
from headwater.errors import ConfigError, LayoutError
from headwater.forecast.device import Accelerator, read_devices
from headwater.forecast.exchange import Exchange, exchange_seconds, exchanges
from headwater.forecast.rank_memory import gpu_memory
from headwater.forecast.work import Work
from headwater.model.count import flops_per_token
from headwater.numbers import count, plural, size
from headwater.parallel.settings import fewest_ranks
from headwater.ranks.mesh import SAME_ROWS_AXES, Layout
from headwater.runs.hardware import Costs, work_of
from headwater.runs.kept_settings import load_with_kept
from headwater.runs.layout import layout_here
from headwater.runs.run_config import RunConfig
from headwater.simulate.account import KINDS, Account
from headwater.simulate.rank import simulate


def run(run: str, overrides: list[str], ranks: str, hardware: str, costs: Costs, as_json: bool) -> None:
    """Simulate a step of a run's first rank and print its account; on `hardware` also what the step takes at best."""
    config, _ = load_with_kept(run, overrides)
    require_from_training(config.run_dir)
    device, place = parse_devices(hardware, ranks, fewest_ranks(config.parallel), read_devices(costs.hardware))
    uncompiled = config.model_copy(update={"machine": config.machine.model_copy(update={"compile": "off"})})
    try:
        layout = layout_here(uncompiled, place, device)
    except LayoutError as error:
        if device is not None or "auto" not in (config.parallel.replicate, config.parallel.shard):
            raise
        raise LayoutError(f"{error}; or name a device whose memory is to choose it: --hardware H100") from error
    config = config.with_layout(layout)
    _require_simulated(config)
    work = work_of(config, layout)
    num_ranks, places = layout.mesh.world_size, layout.mesh.differing_places
    of_ranks = f" of {'one' if len(places) == 1 else len(places)} of {num_ranks:,} ranks" if num_ranks > 1 else ""
    say_beside(as_json)(f"simulating a step{of_ranks}; many large layers take a minute or two")
    accounts, tokens = [simulate(work, place) for place in places], work.num_microbatches * work.microbatch_tokens
    most_flops = max(each.flops for each in accounts)
    fullest = replace(max(accounts, key=lambda each: each.total_peak_bytes), flops=most_flops)
    found = {"name": config.name, **asdict(layout.mesh), "tokens": tokens, **asdict(fullest)}
    found["stages"] = [{"place": place, **asdict(each)} for place, each in zip(places, accounts, strict=True)]
    found["forecast"] = {
        "peak_bytes": gpu_memory(work, is_compiled=False).tensors,
        "exchanges": [asdict(each) for each in exchanges(work)],
    }
    shown = lines(work, layout, fullest)
    if len(places) > 1:
        names = {0: "first", 1: "second", layout.mesh.pipeline - 1: "last"}
        held = (
            f"{size(each.total_peak_bytes)} the {names[place]}" for place, each in zip(places, accounts, strict=True)
        )
        shown.append(
            ("pipeline", f"of its ranks {', '.join(held)}; memory and exchanges are of the one that holds most")
        )
    if device is not None:
        model_flops = tokens * flops_per_token(config.model) / layout.mesh.size(*SAME_ROWS_AXES)
        waiting = layout.mesh.waiting(work.num_microbatches)
        flops = (1 + waiting) * most_flops
        step = least_step(device, work.dtype, flops, model_flops, fullest.exchanges, layout)
        found["step"], shown = step, shown + step_lines(step, device)
        if waiting:
            shown.append(("", f"computing has {waiting:.0%} more, in which ranks of the pipeline wait for one another"))
    print_json(found) if as_json else card(f"simulated · {config.name}", shown)


def _require_simulated(config: RunConfig) -> None:
    """Raise ConfigError for numbers that would get a wrong account."""
    if config.train.exact:
        raise ConfigError("train.exact isn't simulated, whose sums of integers take more; add train.exact=false")
    if config.machine.dtype in ACTIVATIONS:
        raise ConfigError(
            f"machine.dtype={config.machine.dtype} isn't simulated, whose weights are sent in float32; "
            "add machine.dtype=bfloat16"
        )


def lines(work: Work, layout: Layout, account: Account) -> list[tuple[str, str]]:
    """Return the card: the layout, memory by kind, exchanges by axis, operations."""
    mesh, peak = work.mesh, account.peak_bytes
    kinds = ", ".join(f"{size(peak[kind])} {kind}" for kind in KINDS if peak.get(kind))
    tokens = work.num_microbatches * work.microbatch_tokens
    forecast = gpu_memory(work, is_compiled=False).tensors
    shown = [
        ("ranks", f"{mesh.world_size}: {mesh}; {count(tokens)} tokens a rank and step"),
        *([("", layout.why)] if mesh.world_size > 1 else []),
        ("memory", f"{size(account.total_peak_bytes)} of a rank when it holds most: {kinds}"),
        ("", f"{size(forecast)} by forecast; blocks aren't compiled here, and on a GPU keep less"),
    ]
    for number, each in enumerate(account.exchanges):
        calls = plural(each.calls or 0, "call")
        shown.append(("" if number else "exchange", f"{each.kind} along {each.axis}: {calls}, {size(each.num_bytes)}"))
    return [*shown, ("computing", f"{account.flops:.2e} FLOPs, with those of what is recomputed")]


def least_step(
    device: Accelerator, dtype: str, flops: float, model_flops: float, found: Iterable[Exchange], layout: Layout
) -> dict[str, float]:
    """Return the least seconds that a step takes: of computing at the accelerator's peak, and of its exchanges.

    And the most of the peak that its model's FLOPs can be, where exchanges overlap with computing and where they don't.
    Of the step's `flops` `model_flops` are the model's. Raises ConfigError for a device without this number format.
    """
    peak = device.fp32_flops if dtype == "float32" else device.bf16_flops
    if peak is None:
        raise ConfigError(f"the hardware table has no fp32_TFLOPs of {device.name}; add machine.dtype=bfloat16")
    computing, at_peak = flops / peak, model_flops / peak
    exchanging = sum(exchange_seconds(device, each, layout) for each in found)
    return {
        "computing_seconds": computing,
        "exchange_seconds": exchanging,
        "utilisation_overlapped": min(1.0, at_peak / max(computing, exchanging)),
        "utilisation_not_overlapped": at_peak / (computing + exchanging),
    }


def step_lines(step: dict[str, float], device: Accelerator) -> list[tuple[str, str]]:
    """Return what the step takes at least on the device."""
    computing, exchanging = step["computing_seconds"], step["exchange_seconds"]
    overlapped, else_ = step["utilisation_overlapped"], step["utilisation_not_overlapped"]
    of_peak = f"at the peak of {device.name}"
    return [
        ("step", f"at least {computing:.3g} s of computing {of_peak} and {exchanging:.3g} s of exchanges"),
        ("utilisation", f"at most {overlapped:.0%} where exchanges overlap with computing, {else_:.0%} else"),
    ]
