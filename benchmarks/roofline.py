"""Where the time of headwater's step goes: matmul, attention, loss, optimizer, data, other.

    python benchmarks/roofline.py JOB        JOB is a Job as JSON; throughput.py starts it; the last line is JSON

The product's own loop is profiled for a few steps. A kernel belongs to the part whose range encloses it, else to the
part that its name, or the name of an operator around it, points to.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

# read when inductor is imported: without it compiled kernels have no names in a profile
os.environ["TORCHINDUCTOR_CPP_ENABLE_KERNEL_PROFILE"] = "1"

import torch

import watch
from job import Job

PARTS = ("matmul", "attention", "loss", "optimizer", "data", "other")
RANGE = "part: "
# (module, function or method, part): what is called there, and all beneath it, is of that part
RANGES = (
    ("headwater.model.loss", "NextTokenLoss.forward", "loss"),
    ("headwater.model.kernels.convert", "FusedLoss.forward", "loss"),
    ("headwater.model.optim.optimizer", "Optimizer.step", "optimizer"),
    ("headwater.model.optim.optimizer", "Optimizer.zero_grad", "optimizer"),
    ("headwater.train.step", "clip_", "optimizer"),
    ("headwater.machine.device.device", "Device.place", "data"),
)
# (part, what a kernel's or an operator's name in lower case holds), the first that fits
NAMES = (
    ("attention", ("softmax", "bmm", "scaled_dot_product", "attention", "attend")),
    ("loss", ("losssum", "nexttokenloss", "chunk_loss", "cross_entropy", "logsumexp", "nll_loss")),
    ("optimizer", ("muon", "adamw", "_foreach_", "orthogonal")),
    ("matmul", ("project", "aten::mm", "aten::_int_mm", "aten::addmm", "aten::linear", "mkldnn", "gemm", "matmul")),
)
WARMUP_STEPS, NUM_STEPS = 2, 3
NUM_KERNELS_SHOWN = 5


class Enough(Exception):
    """Ends the training loop when the profile is complete."""


class ProfilingWatch:
    """A Watch that lets the loop warm up, times some steps, then profiles as many."""

    def __init__(self) -> None:
        self.profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self.plain_seconds: list[float] = []
        self.profiled_seconds: list[float] = []
        self.data_wait_fractions: list[float] = []
        self._num_steps = 0
        self._started_at = 0.0

    def model(self, num_parameters: int, flops_per_token: float) -> None:
        pass

    def step(self, loss: float, **measures: float) -> None:
        elapsed = time.perf_counter() - self._started_at
        self._num_steps += 1
        if self._num_steps > WARMUP_STEPS + NUM_STEPS:
            self.profiled_seconds.append(elapsed)
        elif self._num_steps > WARMUP_STEPS:
            self.plain_seconds.append(elapsed)
            self.data_wait_fractions.append(measures.get("data_wait_fraction", 0.0))
        if self._num_steps == WARMUP_STEPS + NUM_STEPS:
            self.profiler.start()
        if self._num_steps == WARMUP_STEPS + 2 * NUM_STEPS:
            self.profiler.stop()
            raise Enough
        self._started_at = time.perf_counter()


def put_ranges() -> list[str]:
    """Put a profiler's range around each call of RANGES; return those that aren't there."""
    absent = []
    for module_name, path, part in RANGES:
        owner: Any = importlib.import_module(module_name)
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent, None)
        if getattr(owner, name, None) is None:
            absent.append(f"{module_name}.{path}")
            continue
        setattr(owner, name, _in_range(getattr(owner, name), part))
    return absent


def _in_range(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def ranged(*args: Any, **kwargs: Any) -> Any:
        with torch.profiler.record_function(RANGE + part):
            return function(*args, **kwargs)

    return ranged


def part_of(names: list[str]) -> str:
    """Return the part of a kernel from its own name and those of the operators around it, the innermost first."""
    for name in names:
        if name.startswith(RANGE):
            return name.removeprefix(RANGE)
    for name in names:
        lower = name.lower()
        for part, words in NAMES:
            if any(word in lower for word in words):
                return part
    return "other"


def kernel_seconds(profiler: torch.profiler.profile, num_steps: int) -> dict[str, dict[str, float]]:
    """Return {part: {kernel: seconds a step}}: time in a kernel itself, without what it calls."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in profiler.events():
        names, around = [event.name], event.cpu_parent
        while around is not None:
            names.append(around.name)
            around = around.cpu_parent
        seconds[part_of(names)][event.name] += event.self_cpu_time_total / 1e6 / num_steps
    return seconds


def roofline(job: Job) -> dict[str, Any]:
    """Train headwater for a few steps and return shares and times of the parts."""
    watching = ProfilingWatch()
    absent = put_ranges()
    with contextlib.suppress(Enough):
        watch.train(job, watching)
    by_kernel = kernel_seconds(watching.profiler, NUM_STEPS)
    profiled = statistics.fmean(watching.profiled_seconds)
    seconds = {part: sum(by_kernel[part].values()) for part in PARTS}
    seconds["data"] += profiled * statistics.median(watching.data_wait_fractions)
    # what no kernel was running in: Python, dispatch, waiting
    seconds["other"] += max(0.0, profiled - sum(seconds.values()))
    return {
        "ms_per_step": round(1000 * statistics.median(watching.plain_seconds), 3),
        "profiled_ms_per_step": round(1000 * profiled, 3),
        "ranges_absent": absent,
        "parts": {part: _part(seconds[part], profiled, by_kernel[part]) for part in PARTS},
    }


def _part(seconds: float, step_seconds: float, by_kernel: dict[str, float]) -> dict[str, Any]:
    longest = sorted(by_kernel.items(), key=lambda item: -item[1])[:NUM_KERNELS_SHOWN]
    return {
        "share": round(seconds / step_seconds, 4),
        "ms": round(1000 * seconds, 3),
        "kernels_ms": {name: round(1000 * value, 3) for name, value in longest},
    }


if __name__ == "__main__":
    print(json.dumps(roofline(Job.from_json(sys.argv[1]))))
