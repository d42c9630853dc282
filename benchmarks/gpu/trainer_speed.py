"""How fast one trainer trains at one shape, and in what memory, as one JSON line.

    python benchmarks/gpu/trainer_speed.py "L,H,D,T,V,B × N microbatches" MODULE MODES FOLDER OUT [TEXT]

The shape is as throughput.py has it; MODULE is one of contenders, FOLDER a peer's or empty. Where the memory can't hold
a microbatch it has half the rows, and a step twice as many. Tokens are kept in OUT for the next trainer.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from job import Job, Shape  # noqa: E402
from measure import Effort, choose_mode, run_rounds, summarise  # noqa: E402
from token_stream import read_text, write_tokens  # noqa: E402
from workers import Workers  # noqa: E402

EFFORT = Effort(num_rounds=3, round_steps=3, round_seconds=5.0)
TOY_EFFORT = Effort(num_rounds=2, round_steps=3, round_seconds=0.2)
TOY_WIDTH = 64


def main(text: str, module: str, modes: str, folder: str, out: str, text_file: str = "") -> None:
    six, _, rest = text.partition(" × ")
    shape = replace(Shape.parse(six), num_microbatches=int((rest or "1").split()[0]))
    out_dir = Path(out)
    tokens_dir = out_dir / f"tokens-{shape.vocab_size}"
    write_tokens(read_text(Path(text_file) if text_file else None), shape.vocab_size, tokens_dir)
    job = Job(module, "", shape, tokens_dir, out_dir / "scratch", Path(folder) if folder else None)
    while True:
        found = measured(job, tuple(modes.split(",")), out_dir)
        if found["status"] == "ok" or "memory" not in found["status"] or job.shape.rows == 1:
            break
        halved = {"rows": job.shape.rows // 2, "num_microbatches": 2 * job.shape.num_microbatches}
        job = replace(job, shape=replace(job.shape, **halved))
    print(json.dumps(found | {"microbatch_tokens": job.shape.microbatch_tokens}))


def measured(job: Job, modes: tuple[str, ...], logs_dir: Path) -> dict[str, Any]:
    """Return the medians of a few rounds; of headwater also the memory that is forecast."""
    workers = Workers(logs_dir)
    try:
        finding = choose_mode(job.module, job, modes, workers, say)
        run_rounds([finding], TOY_EFFORT if job.shape.d_model <= TOY_WIDTH else EFFORT, workers, say)
        found = summarise(finding)
    finally:
        workers.end_all()
    if found["status"] == "ok":
        is_gpu = "peak_memory_bytes" in found
        found["memory_bytes"] = found["peak_memory_bytes" if is_gpu else "peak_rss_bytes"]
        if job.module == "headwater" and finding.job is not None:
            found["forecast_bytes"] = forecast_bytes(finding.job, is_gpu=is_gpu)
    return found


def forecast_bytes(job: Job, *, is_gpu: bool) -> float:
    """Return the memory of headwater's step as a plan counts it: on a GPU that of tensors, else the whole process."""
    from contenders.headwater import make_plan
    from headwater.plan.forecast.processor import memory
    from headwater.plan.forecast.rank_memory import gpu_memory
    from headwater.plan.forecast.result import StepWork

    plan, shape = make_plan(job), job.shape
    work = StepWork(
        plan.model,
        plan.optim,
        num_rows=shape.rows,
        num_microbatches=shape.num_microbatches,
        dtype=plan.machine.dtype,
    )
    if is_gpu:
        return gpu_memory(work, is_compiled=True).tensors
    return memory(work, sum(path.stat().st_size for path in (job.tokens_dir / "store").iterdir())).total


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
