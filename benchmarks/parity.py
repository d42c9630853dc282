"""Whether a run of several ranks computes what one rank does: gradients, losses, norms and weights, step by step.

Every layout trains the same small model on the same rows as its first rank does alone, from weights of which none is
zero, and compares. `make parity`, or with fewer cases

    python benchmarks/parity.py --layouts fsdp2 hsdp2x2 --steps 5

Planted faults show what the comparison sees: `--faults` trains with each of them, which must come out different.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from headwater.batches.assemble import NO_TARGET, Batch
from headwater.batches.source import rank_rows
from headwater.compute import fastest_, fastest_updates
from headwater.cpu_kernels.int8 import multiplies_int8_exactly
from headwater.cpu_kernels.products import Products
from headwater.device.device import Device
from headwater.device.facts import MachineFacts
from headwater.model.init import derived_seed
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Recompute, Transformer
from headwater.optim.settings import OptimSettings
from headwater.parallel import norm, prepare, sharded, weights
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import Ranks
from headwater.ranks.mesh import Mesh
from headwater.ranks.place import place_of
from headwater.ranks.rendezvous import join_ranks
from headwater.train.gradients import sum_gradients
from headwater.train.step import StepResult, train_step

LAYOUTS = {
    "1": Mesh(),
    "dp2": Mesh(replicate=2),
    "dp4": Mesh(replicate=4),
    "fsdp2": Mesh(shard=2),
    "fsdp4": Mesh(shard=4),
    "hsdp2x2": Mesh(replicate=2, shard=2),
}
STEPS, ROWS, SEQ_LEN, SEED = 30, 8, 32, 7
MAX_GRAD_NORM = 0.5  # most steps are clipped
# 250 rows over four ranks are 63, 63, 63 and 61, and 66 are 17, 17, 17 and 15
MODEL = ModelSettings(
    vocab_size=250, num_layers=3, d_model=64, d_ff=66, num_heads=4, num_kv_heads=2, head_dim=16, seq_len=SEQ_LEN
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01}

# at these rates one rank alone whose first weights differ by half a last bit has losses 2e-6 apart within 30 steps by
# AdamW, 2e-3 to 4e-3 by Muon in int8 or bfloat16, whose roundings grow: what multiplies rounding trains slower
SLOW_FACTOR = 0.1


@dataclass(frozen=True)
class Case:
    """One way to compute: what is compared between one rank and several."""

    rule: str = "adamw"
    dtype: str = "float32"
    kernels: bool = False
    recompute: Recompute = 0
    exact: bool = False
    tied: bool = True
    block_rows: int | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Return how far each quantity may be off, relative to its norm; 0: not a bit."""
        if self.exact:
            return dict.fromkeys(("gradients", "loss", "norm", "parameters"), 0.0)
        if self.dtype != "float32":
            return {"loss": 1e-3}
        return {"gradients": 1e-5, "loss": 1e-6, "norm": 1e-4, "parameters": 1e-4}


def all_cases() -> list[Case]:
    """Return every case of fp32, and what of other formats and of exact sums this machine computes."""
    ways = itertools.product(("adamw", "muon"), (False, True), (0, 2, "selective"))
    found = [Case(rule, kernels=kernels, recompute=recompute) for rule, kernels, recompute in ways]
    found += [replace(case, exact=True) for case in found if not case.recompute]
    found += [Case("muon", tied=False), Case("muon", block_rows=16), Case("muon", exact=True, block_rows=16)]
    found += [Case("muon", "bfloat16", exact=True)]
    found += [Case(rule, "bfloat16") for rule in ("adamw", "muon")]
    if multiplies_int8_exactly():
        found += [Case(rule, "int8", kernels=True) for rule in ("adamw", "muon")]
    return found


@dataclass(frozen=True)
class Trained:
    """The first step's gradients, each step's loss and gradient norm, and the weights after the last."""

    gradients: dict[str, Tensor]
    losses: Tensor
    norms: Tensor
    parameters: dict[str, Tensor]


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def rows(step: int, first: int, count: int) -> Batch:
    """Return some rows of a step, of two documents each; a token in twenty is no target."""
    generator = torch.Generator().manual_seed(derived_seed(SEED, "rows", step))
    tokens = torch.randint(0, MODEL.vocab_size, (ROWS, SEQ_LEN + 1), generator=generator)
    ends = torch.randint(4, SEQ_LEN - 4, (ROWS, 1), generator=generator)
    documents = (torch.arange(SEQ_LEN)[None] >= ends).long()
    targets = tokens[:, 1:].masked_fill(torch.rand(ROWS, SEQ_LEN, generator=generator) < 0.05, NO_TARGET)
    cut = [part[first : first + count].contiguous().numpy() for part in (tokens[:, :-1], targets, documents)]
    return Batch(cut[0], cut[1], cut[2], int((cut[1] != NO_TARGET).sum()), ROWS * step + first)


def facts_of(case: Case) -> MachineFacts:
    return MachineFacts("cpu", "cpu", case.dtype, case.kernels, 1, 1.0, torch.__version__, "")


def fill_zeros_(model: Transformer) -> None:
    """Give random values to matrices that begin at zero, where they would hide errors of the first steps."""
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in ("out", "down"):
            generator = torch.Generator().manual_seed(derived_seed(SEED, name))
            value = 0.02 * torch.randn(parameter.shape, generator=generator)
            if isinstance(parameter, DTensor):
                value = distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
            with torch.no_grad():
                parameter.copy_(value)


class Training:
    """A model, its optimizer and its rows, as one of these ranks has them."""

    def __init__(self, case: Case, ranks: Ranks) -> None:
        facts, settings = facts_of(case), MODEL.model_copy(update={"tied_embeddings": case.tied})
        build = partial(Transformer, settings, facts.compute_dtype, case.recompute)
        self.ranks, self.parallel = ranks, DataParallel(ranks, Device(), exact=case.exact)
        given = build, partial(fastest_, facts=facts), SEED, self.parallel
        prepared = prepare.prepare(*given, gather_dtype=facts.gather_dtype)
        self.model, self.fast_model = prepared.model, prepared.fast_model
        fill_zeros_(self.model)
        multiplies_rounding = case.rule == "adamw" or (case.dtype != "float32" and not case.exact)
        rates = {name: rate * (SLOW_FACTOR if multiplies_rounding else 1.0) for name, rate in RATES.items()}
        optim = OptimSettings(name=case.rule, weight_decay=0.1, block_rows=case.block_rows, **rates)
        updates = fastest_updates(facts, exact=case.exact)
        self.optimizer = prepare.optimizer_for(self.model, optim, facts.compute_dtype, updates, self.parallel)
        self.first_gradients: dict[str, Tensor] = {}

    def _compute(
        self, fast: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: Any
    ) -> Tensor:
        loss = sum_gradients(fast, parallel, microbatches, num_targets)
        if not self.first_gradients:
            self.first_gradients = {name: whole(p.grad) for name, p in self.model.named_parameters()}
        return loss

    def take_steps(self, first: int, last: int) -> list[StepResult]:
        found = []
        for step in range(first, last):
            row, count = rank_rows(0, ROWS, *self.ranks.part_of_rows)
            microbatches = [rows(step, row + number, 1) for number in range(count)]
            update = partial(train_step, self.fast_model, self.optimizer, microbatches, self.parallel)
            found.append(update(lr_factor=1.0, step=step, max_grad_norm=MAX_GRAD_NORM, compute=self._compute))
        return found


def trained(case: Case, ranks: Ranks, steps: int) -> Trained:
    """Train as one of these ranks, and return what they came to."""
    training = Training(case, ranks)
    found = training.take_steps(0, steps)
    losses, norms = ([getattr(result, name) for result in found] for name in ("loss", "grad_norm"))
    parameters = {name: whole(parameter) for name, parameter in training.model.named_parameters()}
    return Trained(training.first_gradients, torch.tensor(losses).double(), torch.tensor(norms).double(), parameters)


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over that of what is expected; NaN counts as infinitely far."""
    far = float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30))
    return far if far == far else float("inf")


def differences(found: Trained, expected: Trained) -> dict[str, float]:
    """Return how far apart two runs are: of losses and norms the farthest step, of tensors the farthest one."""
    return {
        "gradients": max(distance(found.gradients[name], value) for name, value in expected.gradients.items()),
        "loss": max(map(distance, found.losses, expected.losses)),
        "norm": max(map(distance, found.norms, expected.norms)),
        "parameters": max(distance(found.parameters[name], value) for name, value in expected.parameters.items()),
    }


def too_far(case: Case, found: dict[str, float]) -> list[str]:
    return [name for name, limit in case.limits.items() if not found[name] <= limit]


# ---- faults that the comparison must see


def _averaged_twice() -> Any:
    return mock.patch.object(FSDPModule, "set_gradient_divide_factor", _twice(FSDPModule.set_gradient_divide_factor))


def _twice(set_factor: Callable[..., None]) -> Callable[..., None]:
    return lambda module, factor: set_factor(module, 2 * factor)


def _norm_of_one_shard() -> Any:
    return mock.patch.object(norm, "norms", lambda tensors, shards, norms=norm.norms: norms(tensors, Ranks()))


def _stale_weights() -> Any:
    stack = ExitStack()
    stack.enter_context(mock.patch.object(sharded, "keep_no_copies_", lambda model: None))
    stack.enter_context(mock.patch.object(Products, "weights_changed", lambda products: None))
    return stack


def _shards_alike() -> Any:
    def first_rows(name: str, shape: Any, seed: int, *, tied: bool, part: Any) -> Tensor:
        return initial_value(name, shape, seed, tied=tied)[: part[0].stop - part[0].start]

    initial_value = weights.initial_value
    return mock.patch.object(weights, "initial_value", first_rows)


def _rows_of_another() -> Any:
    return mock.patch.object(Ranks, "part_of_rows", property(lambda ranks: (0, ranks.mesh.size("replicate", "shard"))))


FAULTS: dict[str, tuple[Callable[[], Any], Case]] = {
    "a gradient averaged twice": (_averaged_twice, Case("adamw")),
    "a norm over one shard": (_norm_of_one_shard, Case("adamw")),
    "stale weights after several updates": (_stale_weights, Case("adamw", kernels=True)),
    "shards initialised alike": (_shards_alike, Case("adamw")),
    "rows read by the wrong coordinate": (_rows_of_another, Case("adamw")),
}


# ---- the comparison


@dataclass(frozen=True)
class Row:
    """What one case of one layout came to; `too_far` names what is beyond its limit."""

    layout: str
    case: str
    fault: str | None
    gradients: float
    loss: float
    norm: float
    parameters: float
    too_far: list[str]


def compare(case: Case, ranks: Ranks, steps: int, fault: str | None = None) -> tuple[dict[str, float], list[str]]:
    """Train by these ranks, and by the first one alone; return how far apart they are and what is too far, there."""
    with FAULTS[fault][0]() if fault else nullcontext():
        found = trained(case, ranks, steps)
    apart = differences(found, trained(case, Ranks(), steps)) if ranks.is_first else {}
    ranks.wait()
    return apart, too_far(case, apart) if apart else []


def name_of(case: Case) -> str:
    parts = [case.rule, case.dtype, "kernels" if case.kernels else "plain"]
    parts += {0: [], 2: ["recompute"]}.get(case.recompute, ["selective"]) + ["exact"] * case.exact
    parts += [] if case.tied else ["untied"]
    return " ".join(parts + ([f"blocks of {case.block_rows}"] if case.block_rows else []))


@contextmanager
def joined(layout: str) -> Iterator[Ranks]:
    ranks = join_ranks(place_of(os.environ), LAYOUTS[layout])
    yield ranks
    sys.stdout.flush()
    ranks.wait()
    os._exit(0)  # groups of a device mesh don't always end well by themselves


def as_rank(layout: str, steps: int, with_faults: bool, words: list[str]) -> None:
    """Compare all cases as one rank; the first one prints a row a line."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    faults: list[tuple[str | None, Case]] = [(name, case) for name, (_, case) in FAULTS.items()]
    chosen = faults if with_faults else [(None, case) for case in all_cases()]
    chosen = [(fault, case) for fault, case in chosen if not words or any(word in name_of(case) for word in words)]
    with joined(layout) as ranks:
        for fault, case in chosen:
            apart, beyond = compare(case, ranks, steps, fault)
            if ranks.is_first:
                print(json.dumps(asdict(Row(layout, name_of(case), fault, **apart, too_far=beyond))), flush=True)


def lines_of_layout(layout: str, program: Path, *arguments: str) -> Iterator[Any]:
    """Yield the JSON lines that a program's ranks print, started by torchrun in this layout."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(LAYOUTS[layout].world_size), str(program), "--as-rank", layout, *arguments]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise SystemExit(f"{layout} ended with {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS)[1:])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--cases", nargs="+", default=[], help="words, of which a case's name has one: muon int8")
    parser.add_argument("--faults", action="store_true", help="train with planted faults instead, on sharded layouts")
    parser.add_argument("--as-rank", choices=LAYOUTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(options.as_rank, options.steps, options.faults, options.cases)
        return
    began, failed = time.perf_counter(), 0
    print(f"{'layout':8} {'case':44} {'gradients':>9} {'loss':>9} {'norm':>9} {'weights':>9}")
    layouts = [name for name in options.layouts if not options.faults or LAYOUTS[name].shard > 1]
    for layout in layouts:
        arguments = ["--steps", str(options.steps), *["--faults"] * options.faults]
        arguments += ["--cases", *options.cases] if options.cases else []
        for line in lines_of_layout(layout, Path(__file__), *arguments):
            row = Row(**line)
            failed += bool(row.too_far) != options.faults
            verdict = f"  too far: {', '.join(row.too_far)}" if row.too_far else "  unseen" * options.faults
            numbers = (row.gradients, row.loss, row.norm, row.parameters)
            print(f"{row.layout:8} {row.fault or row.case:44}", *(f"{n:9.1e}" for n in numbers), verdict, flush=True)
    print(f"{time.perf_counter() - began:.0f} s, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
