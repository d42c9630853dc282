"""headwater plan RUN --ranks N --simulate: what one of N ranks holds, exchanges and computes in a step."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from headwater.cli.terminal import card, print_json
from headwater.device.facts import ACTIVATIONS, DTYPES
from headwater.errors import ConfigError
from headwater.forecast.device import Device, find_device, read_devices
from headwater.forecast.gpu import WIRE_UTILISATION
from headwater.model.count import flops_per_token
from headwater.numbers import count, plural, size, times
from headwater.ranks.mesh import Mesh
from headwater.runs.costs import Costs
from headwater.runs.hardware import microbatch_tokens
from headwater.runs.layout import planned_layout
from headwater.runs.run_config import RunConfig, load_run
from headwater.simulate.account import KINDS, Account, Exchange
from headwater.simulate.rank import Work, simulate
from headwater.train.settings import recompute_of


def run(run: str, overrides: list[str], ranks: str, hardware: str, costs: Costs, as_json: bool) -> None:
    """Simulate a step of a run's first rank and print its account; on `hardware` also what the step takes at best."""
    config, _ = load_run(run, overrides)
    device = find_device(hardware, read_devices(costs.hardware)) if hardware else None
    if device is None and config.parallel.replicate == config.parallel.shard == "auto":
        raise ConfigError(
            "--simulate needs a layout: set parallel.shard to a number, or name the device whose memory is to choose "
            "it, such as --hardware H100"
        )
    layout = planned_layout(config, ranks, device)
    tokens, train = microbatch_tokens(config, layout), config.train
    _require_simulated(config, tokens, layout.mesh.world_size)
    work = Work(
        config.model,
        config.optim,
        layout.mesh,
        num_rows=tokens // config.model.seq_len,
        num_microbatches=train.batch_tokens // (tokens * layout.mesh.world_size),
        recompute=recompute_of(train, config.model.num_layers),
        dtype=DTYPES.get(config.machine.dtype, torch.bfloat16),
        max_grad_norm=config.optim.max_grad_norm,
    )
    account = simulate(work)
    rank_tokens = work.num_rows * work.num_microbatches * config.model.seq_len
    found: dict[str, Any] = {"name": config.name, **asdict(layout.mesh), "tokens": rank_tokens, **asdict(account)}
    if device is not None:
        found["step"] = step_on(device, account, layout.mesh, rank_tokens * flops_per_token(config.model))
    print_json(found) if as_json else card(f"simulated · {config.name}", lines(found, account, device))


def _require_simulated(config: RunConfig, tokens: int, world_size: int) -> None:
    """Raise ConfigError for what would get a wrong account: a batch that the ranks can't share, other numbers."""
    batch, whole = config.train.batch_tokens, max(tokens, config.model.seq_len) * world_size
    if batch % whole:
        raise ConfigError(
            f"train.batch_tokens={batch} must be a multiple of microbatch_tokens × ranks = {whole // world_size} × "
            f"{world_size}; try train.batch_tokens={max(1, round(batch / whole)) * whole}, or other --ranks"
        )
    if config.train.exact:
        raise ConfigError("train.exact isn't simulated, whose sums of integers take more; add train.exact=false")
    if config.machine.dtype in ACTIVATIONS:
        raise ConfigError(
            f"machine.dtype={config.machine.dtype} isn't simulated, whose weights are sent in float32; "
            "add machine.dtype=bfloat16"
        )


def step_on(device: Device, account: Account, mesh: Mesh, model_flops: float) -> dict[str, float]:
    """Return the least seconds that a step takes: of computing at the device's peak, and of its exchanges.

    And the most of the peak that its model's FLOPs can be, where exchanges overlap with computing and where they don't.
    """
    computing = account.flops / device.bf16_flops
    exchanging = sum(exchange_seconds(device, each, mesh) for each in account.exchanges)
    at_peak = model_flops / device.bf16_flops
    return {
        "computing_seconds": computing,
        "exchange_seconds": exchanging,
        "utilisation_overlapped": min(1.0, at_peak / max(computing, exchanging)),
        "utilisation_not_overlapped": at_peak / (computing + exchanging),
    }


def exchange_seconds(device: Device, exchange: Exchange, mesh: Mesh) -> float:
    """Return what a ring takes for one step's exchanges: (n - 1) / n of the bytes pass each device, of sums twice.

    Over several nodes a ring passes through the network cards of all its ranks in a node together.
    """
    inner, num_ranks = 1, mesh.world_size
    if exchange.axis in mesh.axes:
        num_ranks = mesh.size(exchange.axis)
        inner = mesh.size(*mesh.axes[mesh.axes.index(exchange.axis) + 1 :])
    in_node = max(1, device.node_size // inner)
    bandwidth = device.links if num_ranks <= in_node else min(device.links, device.network * in_node)
    passes = 2 if exchange.kind == "all-reduce" else 1
    return passes * exchange.num_bytes * (num_ranks - 1) / num_ranks / (WIRE_UTILISATION * bandwidth)


def lines(found: dict[str, Any], account: Account, device: Device | None) -> list[tuple[str, str]]:
    """Return the card: the layout, memory by kind, exchanges by axis, operations, and what the device takes."""
    peak = account.peak_bytes
    kinds = ", ".join(f"{size(peak[kind])} {kind}" for kind in KINDS if peak.get(kind))
    mesh = f"weights {times(found['replicate'])}, divided by {found['shard']}"
    shown = [
        ("ranks", f"{found['replicate'] * found['shard']}: {mesh}; {count(found['tokens'])} tokens a rank and step"),
        ("memory", f"{size(account.total_peak_bytes)} of a rank when it holds most: {kinds}"),
    ]
    for each in account.exchanges:
        shown.append(
            ("exchange", f"{each.kind} along {each.axis}: {plural(each.calls, 'call')}, {size(each.num_bytes)}")
        )
    shown.append(("computing", f"{account.flops:.2e} FLOPs, with those of what is recomputed"))
    if device is not None:
        step = found["step"]
        shown += [
            (
                "step",
                f"at least {step['computing_seconds']:.3g} s of computing at the peak of {device.name} and "
                f"{step['exchange_seconds']:.3g} s of exchanges",
            ),
            (
                "utilisation",
                f"at most {step['utilisation_overlapped']:.0%} where exchanges overlap with computing, "
                f"{step['utilisation_not_overlapped']:.0%} where they do not",
            ),
        ]
    return shown
