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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from headwater.machine.compute import MachineFacts, fastest_, fastest_updates
from headwater.machine.device.device import Device
from headwater.machine.parallel import data_parallel, layers, prepare, sharded
from headwater.machine.parallel.boxes import box_of, is_copied, whole_shape
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.ranks.exchange import GroupOfRanks, Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES, Mesh, place_of
from headwater.machine.ranks.rendezvous import join_ranks
from headwater.model.init import derived_seed, drawn
from headwater.model.kernels.int8 import multiplies_int8_exactly
from headwater.model.kernels.products import Products
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Recompute, Transformer
from headwater.tokens.batches.assemble import NO_TARGET, Batch
from headwater.tokens.batches.source import rank_rows
from headwater.train.gradients import sum_gradients
from headwater.train.step import StepResult, train_step

LAYOUTS = {
    "1": Mesh(),
    "dp2": Mesh(replicate=2),
    "dp4": Mesh(replicate=4),
    "fsdp2": Mesh(shard=2),
    "fsdp4": Mesh(shard=4),
    "hsdp2x2": Mesh(replicate=2, shard=2),
    "tp2": Mesh(tensor=2),
    "tp4": Mesh(tensor=4),
    "dp2xtp2": Mesh(replicate=2, tensor=2),
    "tp2xfsdp2": Mesh(shard=2, tensor=2),
    "cp2": Mesh(context=2),
    "cp4": Mesh(context=4),
    "cp2xfsdp2": Mesh(shard=2, context=2),
    "cp2xtp2": Mesh(context=2, tensor=2),
    "pp2": Mesh(pipeline=2),
    "pp2x2": Mesh(pipeline=2, stages_per_rank=2),
    "pp2xfsdp2": Mesh(pipeline=2, shard=2),
    "pp2x2xfsdp2": Mesh(pipeline=2, shard=2, stages_per_rank=2),
    "pp2xtp2": Mesh(pipeline=2, tensor=2),
}
STEPS, ROWS, SEQ_LEN, SEED = 30, 8, 32, 7
MAX_GRAD_NORM = 0.5  # most steps are clipped
# over four ranks that divide by rows 252 are 63 each, but 250 63, 63, 63 and 61; 66 17, 17, 17 and 15
MODEL = ModelSettings(
    vocab_size=250, num_layers=3, d_model=64, d_ff=66, num_heads=4, num_kv_heads=2, head_dim=16, seq_len=SEQ_LEN
)
MODEL_FOR_FOUR = MODEL.model_copy(update={"vocab_size": 252, "d_ff": 68, "num_kv_heads": 4})  # divides by four
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01}

VARIANTS: dict[str | None, dict[str, Any]] = {
    None: {},
    "gpt2": {"family": "gpt2", "num_kv_heads": 4},
    "biases and a window": {"family": "llama", "attention_bias": True, "sliding_window": 9},
}

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
    tied: bool = True
    block_rows: int | None = None
    variant: str | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Return how far each quantity may be off, relative to its norm."""
        if self.dtype != "float32":
            return {"loss": 1e-3}
        return {"gradients": 1e-5, "loss": 1e-6, "norm": 1e-4, "parameters": 1e-4}


def model_for(mesh: Mesh) -> ModelSettings:
    model = MODEL_FOR_FOUR if mesh.tensor == 4 else MODEL
    return model if mesh.pipeline == 1 else model.model_copy(update={"num_layers": 5, "tied_embeddings": False})


def all_cases(mesh: Mesh) -> list[Case]:
    """Return every case of fp32, and what of other formats a layout and this machine compute."""
    again: tuple[Recompute, ...] = (0, 2, "selective")
    ways = itertools.product(("adamw", "muon"), (False, True), again)
    found = [Case(rule, kernels=kernels, recompute=recompute) for rule, kernels, recompute in ways]
    found += [Case("muon", tied=False), Case("muon", block_rows=16)]
    found += [Case(rule, "bfloat16") for rule in ("adamw", "muon")]
    found += [Case("muon", kernels=True, variant=variant) for variant in VARIANTS if variant]
    if multiplies_int8_exactly():
        found += [Case(rule, "int8", kernels=True) for rule in ("adamw", "muon")]
    if mesh.pipeline > 1:
        found = list(dict.fromkeys(replace(case, tied=False) for case in found))
    return [case for case in found if case.variant != "gpt2" or mesh.tensor == 1]


@dataclass(frozen=True)
class Trained:
    """The first step's gradients, each step's loss and gradient norm, and the weights after the last."""

    gradients: dict[str, Tensor]
    losses: Tensor
    norms: Tensor
    parameters: dict[str, Tensor]


def whole(name: str, tensor: Tensor, ranks: Ranks) -> Tensor:
    """Return a parameter, or its gradient, of which each rank has a box."""
    return _whole(name, tensor, whole_shape(name, tensor.shape, ranks.mesh), ranks)


def wholes(tensors: dict[str, Tensor], model: ModelSettings, ranks: Ranks) -> dict[str, Tensor]:
    """Return tensors of all parameters of a model, of which each rank has boxes of some."""
    with torch.device("meta"):
        named = dict(Transformer(model).named_parameters())
    return {name: _whole(name, tensors.get(name), like.shape, ranks) for name, like in named.items()}


def _whole(name: str, tensor: Tensor | None, shape: Sequence[int], ranks: Ranks) -> Tensor:
    found = torch.zeros(*shape)
    if tensor is not None and (not is_copied(name, ranks.mesh) or ranks.mesh.index(ranks.rank, "tensor") == 0):
        found[box_of(name, shape, ranks.mesh, ranks.rank).slices] = local(tensor.detach())
    return ranks.along("pipeline").sum_(ranks.along(*STATE_AXES).sum_(found))


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


def fill_zeros_(model: Transformer, ranks: Ranks) -> None:
    """Give random values to matrices that begin at zero, where they would hide errors of the first steps."""
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in ("out", "down"):
            generator = torch.Generator().manual_seed(derived_seed(SEED, name))
            shape = whole_shape(name, parameter.shape, ranks.mesh)
            value = 0.02 * torch.randn(shape, generator=generator)
            with torch.no_grad():
                local(parameter).copy_(value[box_of(name, shape, ranks.mesh, ranks.rank).slices])


class Training:
    """A model, its optimizer and its rows, as one of these ranks has them."""

    def __init__(self, case: Case, ranks: Ranks, model: ModelSettings = MODEL) -> None:
        facts, settings = (
            facts_of(case),
            model.model_copy(update={"tied_embeddings": case.tied} | VARIANTS[case.variant]),
        )
        self.settings = settings
        self.is_row_by_row = ranks.mesh.pipeline > 1  # as stages need; else two are enough
        build = partial(Transformer, settings, facts.compute_dtype, case.recompute)
        self.ranks, self.parallel = ranks, DataParallel(ranks, Device())
        given = build, partial(fastest_, facts=facts), drawn(settings, SEED), self.parallel
        prepared = prepare.prepare(*given, gather_dtype=facts.gather_dtype)
        self.prepared, self.model, self.fast_model = prepared, prepared.model, prepared.fast_model
        fill_zeros_(self.model, ranks)
        multiplies_rounding = case.rule == "adamw" or case.dtype != "float32"
        rates = {name: rate * (SLOW_FACTOR if multiplies_rounding else 1.0) for name, rate in RATES.items()}
        # with AdamW's usual 1e-10 a gradient of rounding alone moves a weight as far as any other: one rank whose first
        # weights differ by half a last bit came to weights 1.6e-4 apart in 30 steps, with 1e-6 to 6e-6. With Muon, of
        # which only the embedding is AdamW's, at full rates, it is the other way round: 2e-5 with 1e-10, 1e-3 with 1e-6
        if case.rule == "adamw":
            rates["eps"] = 1e-6
        optim = OptimSettings.model_validate(
            {"name": case.rule, "weight_decay": 0.1, "block_rows": case.block_rows, **rates}
        )
        updates = fastest_updates(facts)
        self.optimizer = prepare.optimizer_for(self.model, optim, facts.compute_dtype, updates, self.parallel)
        self.first_gradients: dict[str, Tensor] = {}

    def _compute(
        self, fast: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: Any
    ) -> Tensor:
        loss = sum_gradients(fast, parallel, microbatches, num_targets)
        if not self.first_gradients:
            own = {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
            self.first_gradients = wholes(own, self.settings, self.ranks)
        return loss

    def take_steps(self, first: int, last: int) -> list[StepResult]:
        found = []
        for step in range(first, last):
            row, count = rank_rows(0, ROWS, *self.ranks.part_of_rows)
            size = 1 if self.is_row_by_row else count // 2
            microbatches = [rows(step, first, size) for first in range(row, row + count, size)]
            update = partial(train_step, self.fast_model, self.optimizer, microbatches, self.parallel)
            found.append(update(lr_factor=1.0, step=step, max_grad_norm=MAX_GRAD_NORM, compute=self._compute))
        return found


def trained(case: Case, ranks: Ranks, steps: int, model: ModelSettings = MODEL) -> Trained:
    """Train as one of these ranks, and return what they came to."""
    training = Training(case, ranks, model)
    found = training.take_steps(0, steps)
    losses, norms = ([getattr(result, name) for result in found] for name in ("loss", "grad_norm"))
    parameters = wholes(dict(training.model.named_parameters()), training.settings, ranks)
    return Trained(training.first_gradients, torch.tensor(losses).double(), torch.tensor(norms).double(), parameters)


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over that of what is expected; NaN counts as infinitely far."""
    far = float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30))
    return far if far == far else float("inf")


def differences(found: Trained, expected: Trained) -> dict[str, float]:
    """Return how far apart two runs are: of losses and norms the farthest step, of tensors the farthest one."""
    # without positions in them, keys' biases change no loss: their gradient is rounding alone, which AdamW makes large
    names = [name for name in expected.gradients if not name.endswith("key.bias")]
    return {
        "gradients": max(distance(found.gradients[name], expected.gradients[name]) for name in names),
        "loss": max(map(distance, found.losses, expected.losses)),
        "norm": max(map(distance, found.norms, expected.norms)),
        "parameters": max(distance(found.parameters[name], expected.parameters[name]) for name in names),
    }


def too_far(case: Case, found: dict[str, float]) -> list[str]:
    return [name for name, limit in case.limits.items() if not found[name] <= limit]


# ---- faults that the comparison must see


def _averaged_twice() -> Any:
    return mock.patch.object(FSDPModule, "set_gradient_divide_factor", _twice(FSDPModule.set_gradient_divide_factor))


def _twice(set_factor: Callable[..., None]) -> Callable[..., None]:
    return lambda module, factor: set_factor(module, 2 * factor)


def _norm_of_one_shard() -> Any:
    return mock.patch.object(
        data_parallel, "norms", lambda tensors, shards, norms=data_parallel.norms: norms(tensors, Ranks())
    )


def _stale_weights() -> Any:
    stack = ExitStack()
    stack.enter_context(mock.patch.object(sharded, "keep_no_copies_", lambda model: None))
    stack.enter_context(mock.patch.object(Products, "weights_changed", lambda products: None))
    return stack


def _shards_alike() -> Any:
    def alike_(model: Transformer, first_value: Any, ranks: Ranks) -> None:
        def first(name: str, shape: Any, part: Sequence[slice]) -> Tensor:
            return first_value(name, shape)[tuple(slice(dim.stop - dim.start) for dim in part)]

        initialise_(model, first, ranks)

    initialise_ = prepare.initialise_
    return mock.patch.object(prepare, "initialise_", alike_)


def _rows_of_another() -> Any:
    return mock.patch.object(Ranks, "part_of_rows", property(lambda ranks: (0, ranks.mesh.size("replicate", "shard"))))


def _gains_of_one_part() -> Any:
    return mock.patch.object(data_parallel, "is_copied", lambda name, mesh: False)


def _largest_of_one_part() -> Any:
    return mock.patch.object(GroupOfRanks, "max_", lambda group, tensor: tensor)


def _mask_lost() -> Any:
    attend_by_heads: Any = layers._attend_by_heads

    def without_mask(*given: Any) -> Tensor:
        return attend_by_heads(*given[:-1], torch.zeros_like(given[-1]))

    return mock.patch.object(layers, "_attend_by_heads", without_mask)


def _positions_of_first_part() -> Any:
    part_of = layers.part_of

    def first_of_table(x: Tensor, dim: int, ranks: Ranks) -> Tensor:
        return x.chunk(ranks.world_size, dim)[0] if x.is_floating_point() else part_of(x, dim, ranks)

    return mock.patch.object(layers, "part_of", first_of_table)


def _norm_of_one_stage() -> Any:
    return mock.patch.object(data_parallel, "of_all_stages", lambda norm, ranks: norm.float())


def _mask_lost_behind_the_first_stage() -> Any:
    from headwater.machine.parallel import pipeline  # here, for torch's schedules take a second to import

    forward = pipeline.ModelStage.forward_one_chunk

    def without_mask(stage: Any, number: int, given: Any, named: dict[str, Tensor], **more: Any) -> Any:
        lost = {"documents_BT": torch.zeros_like(named["documents_BT"])} if stage.stage_index else {}
        return forward(stage, number, given, named | lost, **more)

    return mock.patch.object(pipeline.ModelStage, "forward_one_chunk", without_mask)


@dataclass(frozen=True)
class Fault:
    """What is wrong, which case shows it, and the axis along which it is."""

    plant: Callable[[], Any]
    axis: str
    case: Case = Case("adamw")


FAULTS = {
    "a gradient averaged twice": Fault(_averaged_twice, "shard"),
    "a norm over one shard": Fault(_norm_of_one_shard, "shard"),
    "stale weights after several updates": Fault(_stale_weights, "shard", Case("adamw", kernels=True)),
    "shards initialised alike": Fault(_shards_alike, "shard"),
    "rows read by the wrong coordinate": Fault(_rows_of_another, "shard"),
    "gains of norms by one part's gradient": Fault(_gains_of_one_part, "tensor"),
    "probabilities by one part's largest score": Fault(_largest_of_one_part, "tensor"),
    "documents that see each other": Fault(_mask_lost, "context"),
    "positions of the first part": Fault(_positions_of_first_part, "context"),
    "a norm over one stage": Fault(_norm_of_one_stage, "pipeline"),
    "documents that see each other behind the first stage": Fault(_mask_lost_behind_the_first_stage, "pipeline"),
}


def faults_of(mesh: Mesh) -> dict[str, Fault]:
    found = {name: fault for name, fault in FAULTS.items() if mesh.size(fault.axis) > 1}
    if mesh.pipeline > 1:
        found = {name: replace(fault, case=replace(fault.case, tied=False)) for name, fault in found.items()}
    return found


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


@cache
def trained_alone(case: Case, mesh: Mesh, steps: int) -> Trained:
    """Return what one rank comes to with the model of this mesh; several faults are compared with the same."""
    return trained(case, Ranks(), steps, model_for(mesh))


def compare(case: Case, ranks: Ranks, steps: int, fault: str | None = None) -> tuple[dict[str, float], list[str]]:
    """Train by these ranks, and by the first one alone; return how far apart they are and what is too far, there."""
    with FAULTS[fault].plant() if fault else nullcontext():
        found = trained(case, ranks, steps, model_for(ranks.mesh))
    apart = differences(found, trained_alone(case, ranks.mesh, steps)) if ranks.is_first else {}
    ranks.wait()
    return apart, too_far(case, apart) if apart else []


def name_of(case: Case) -> str:
    parts = [case.rule, case.dtype, "kernels" if case.kernels else "plain"]
    if case.recompute:
        parts.append("selective" if case.recompute == "selective" else "recompute")
    parts += [case.variant] if case.variant else []
    parts += [] if case.tied else ["untied"]
    return " ".join(parts + ([f"blocks of {case.block_rows}"] if case.block_rows else []))


@contextmanager
def joined(layout: str) -> Iterator[Ranks]:
    ranks = join_ranks(place_of(os.environ), LAYOUTS[layout], None)
    yield ranks
    sys.stdout.flush()
    ranks.wait()
    os._exit(0)  # groups of a device mesh don't always end well by themselves


def as_rank(layout: str, steps: int, with_faults: bool, words: list[str]) -> None:
    """Compare all cases as one rank; the first one prints a row a line."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    mesh = LAYOUTS[layout]
    faults: list[tuple[str | None, Case]] = [(name, fault.case) for name, fault in faults_of(mesh).items()]
    chosen = faults if with_faults else [(None, case) for case in all_cases(mesh)]
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
    parser.add_argument(
        "--faults", action="store_true", help="train with planted faults instead, each on the layouts that can have it"
    )
    parser.add_argument("--as-rank", choices=LAYOUTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(options.as_rank, options.steps, options.faults, options.cases)
        return
    began, failed = time.perf_counter(), 0
    print(f"{'layout':9} {'case':44} {'gradients':>9} {'loss':>9} {'norm':>9} {'weights':>9}")
    layouts = [name for name in options.layouts if not options.faults or faults_of(LAYOUTS[name])]
    for layout in layouts:
        arguments = ["--steps", str(options.steps), *["--faults"] * options.faults]
        arguments += ["--cases", *options.cases] if options.cases else []
        for line in lines_of_layout(layout, Path(__file__), *arguments):
            row = Row(**line)
            failed += bool(row.too_far) != options.faults
            verdict = f"  too far: {', '.join(row.too_far)}" if row.too_far else "  unseen" * options.faults
            numbers = (row.gradients, row.loss, row.norm, row.parameters)
            print(f"{row.layout:9} {row.fault or row.case:44}", *(f"{n:9.1e}" for n in numbers), verdict, flush=True)
    print(f"{time.perf_counter() - began:.0f} s, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
