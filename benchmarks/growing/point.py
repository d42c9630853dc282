"""One point, in a process of its own: `python -m growing.point ORDER`, ORDER as JSON; the last line is its answer.

headwater is assembled and trains as a run does, with random tokens in documents longer than any row.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from job import Job, Shape
from worker import peak_rss_bytes

DOCUMENT_TOKENS = 1 << 17  # a multiple of every sequence length, so that every row is of one document
NUM_DOCUMENTS = 8
FIRST_ID = 32  # after the special tokens


@dataclass(frozen=True)
class Order:
    """What to measure: a shape on `num_cores` cores, after `warmup_steps`, `min_steps` and `min_seconds` at least."""

    shape: Shape
    work_dir: str
    dtype: str = "auto"
    num_cores: int | None = None  # None: all
    tied_embeddings: bool | None = None  # None: by the rule
    warmup_steps: int = 2
    min_steps: int = 5
    min_seconds: float = 2.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        raw = json.loads(text)
        return cls(**raw | {"shape": Shape(**raw["shape"])})


class Enough(Exception):
    """Ends the training loop."""


class Stopwatch:
    """Seconds of whole steps, from end to end, after the warm-up."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._num_steps, self._last = 0, 0.0
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.update_seconds: list[float] = []

    def step(self, record: dict[str, Any]) -> None:
        if record["event"] != "step":
            return
        now = time.perf_counter()
        self._num_steps += 1
        self.losses.append(record["loss"])
        if self._num_steps > self._order.warmup_steps:
            self.seconds.append(now - self._last)
            if len(self.seconds) >= self._order.min_steps and sum(self.seconds) >= self._order.min_seconds:
                raise Enough
        self._last = time.perf_counter()

    def timed_update(self, update: Callable[[float, int], None]) -> Callable[[float, int], None]:
        """Return the optimizer's step, timed; on a processor it is done when it returns."""

        def timed(lr_factor: float, step: int) -> None:
            started_at = time.perf_counter()
            update(lr_factor, step)
            self.update_seconds.append(time.perf_counter() - started_at)

        return timed


def measure(order: Order) -> dict[str, Any]:
    """Train and return times, memory and what the model is; memory in bytes of resident pages.

    `held_bytes` is what the process holds before there is a model: interpreter, libraries, kernels and their buffers.
    The peak is that of the steps alone, where the system lets a process forget an earlier one.
    """
    from contenders.headwater import make_plan, open_rows
    from headwater.compute import compiler_works
    from headwater.device.settings import MachineSettings
    from headwater.forecast.work import checkpoint_bytes
    from headwater.host.signals import StopRequest
    from headwater.model.count import count_parameters, flops_per_token
    from headwater.train.loop import train
    from headwater.train.start import assemble, past_to_resume

    job = Job("headwater", "auto", order.shape, tokens_dir(Path(order.work_dir), order.shape), Path(order.work_dir))
    plan = replace(make_plan(job), machine=MachineSettings(dtype=order.dtype))
    if order.tied_embeddings is not None:
        plan = replace(plan, model=plan.model.model_copy(update={"tied_embeddings": order.tied_embeddings}))
    _warm_libraries(compiler_works, plan.machine)
    held_bytes = resident_bytes()
    stopwatch = Stopwatch(order)
    run_dir = Path(order.work_dir) / f"run-{os.getpid()}"
    run_dir.mkdir()
    rows, say = open_rows(job, plan), partial(print, file=sys.stderr)
    run = assemble(run_dir, plan, rows, past_to_resume(run_dir, plan, rows, say), say)
    run.optimizer.step = stopwatch.timed_update(run.optimizer.step)  # type: ignore[method-assign]
    forget_peak()
    try:
        train(run, None, stopwatch.step, StopRequest())
    except Enough:
        pass
    finally:
        run.records.close()
    facts = run.facts
    return {
        "shape": asdict(order.shape),
        "tokens": order.shape.batch_tokens,
        "seconds": statistics.median(stopwatch.seconds),
        "seconds_of_steps": stopwatch.seconds,
        "update_seconds": statistics.median(stopwatch.update_seconds[order.warmup_steps :]),
        "losses": [stopwatch.losses[0], stopwatch.losses[-1]],
        "parameters": count_parameters(plan.model).total,
        "flops": flops_per_token(plan.model) * order.shape.batch_tokens,
        "peak_bytes": peak_rss_bytes(),
        "held_bytes": held_bytes,
        "state_bytes": checkpoint_bytes(plan.model, plan.optim) + 4 * count_parameters(plan.model).total,
        # matrices are kept a second time in bf16, those of int8 maps twice in int8
        "cast_bytes": 0 if facts.dtype == "float32" else 2 * count_parameters(plan.model).matmul,
        "num_threads": facts.num_threads,
        "dtype": facts.dtype,
        "kernels": facts.compiled,
        "peak_flops_per_second": facts.peak_flops_per_second,
        "torch": facts.torch_version,
    }


def _warm_libraries(compiler_works: Any, machine: Any) -> None:
    """Load what any model needs: the kernels, the threads, the buffers of matrix products in either dtype."""
    import torch

    compiler_works(machine, torch.device("cpu"))
    for dtype in (torch.float32, torch.bfloat16):
        torch.nn.functional.linear(torch.ones(4096, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype))


def resident_bytes() -> int:
    """Return the memory that this process holds now; its peak so far where the system doesn't say."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return int(next(line.split()[1] for line in status if line.startswith("VmRSS"))) * 1024
    except (OSError, StopIteration):
        return peak_rss_bytes()


def forget_peak() -> None:
    """Have Linux begin a new peak at what is held now; elsewhere the peak stays that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def tokens_dir(work_dir: Path, shape: Shape) -> Path:
    return work_dir / f"tokens-{shape.vocab_size}"


def write_random_tokens(work_dir: Path, shape: Shape) -> None:
    """Write the token store of a vocabulary, unless it is there: ids with the frequencies of Zipf's law."""
    from headwater.tokens.write import EncodedDocument, write_store
    from token_stream import STORE

    folder = tokens_dir(work_dir, shape) / STORE
    if folder.exists():
        return
    shares = 1 / np.arange(1, shape.vocab_size - FIRST_ID + 1)
    upper = np.cumsum(shares / shares.sum())
    generator = np.random.default_rng(1)

    def document(number: int) -> EncodedDocument:
        # begin and end are added: one token less than positions, and the last one is only a target
        ids = np.searchsorted(upper, generator.random(DOCUMENT_TOKENS - 1)).clip(max=len(upper) - 1) + FIRST_ID
        return EncodedDocument(ids, 4 * len(ids), str(number))

    write_store(folder, map(document, range(NUM_DOCUMENTS)), shape.vocab_size, "random tokens")


def main() -> int:
    order = Order.from_json(sys.argv[1])
    if order.num_cores is not None:
        # before torch counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order.num_cores])
    print(json.dumps(measure(order)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
