"""One run in a process of its own: `python -m quality.worker JOB.json RESULT.json`.

The clock starts when the contender's module and torch are imported and the texts are encoded, and stops at the end of
the last step: building the model, compiling and training are counted.
"""

from __future__ import annotations

import importlib
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

from headwater.files import read_json, write_json
from quality.job import Job
from quality.judge import held_out_bits_per_byte
from quality.meter import Meter
from quality.texts import Texts

MODULES = {"headwater": "quality.headwater", "gpt2-adamw": "quality.gpt2_adamw", "nanochat": "quality.nanochat"}


def run(job: Job) -> dict[str, Any]:
    """Return what came out of a job; a probe has no bits per byte, and neither has a run that diverged."""
    module = importlib.import_module(MODULES[job.contender])
    module.load(job)
    texts = Texts(Path(job.texts))
    meter = Meter(job.max_seconds, job.probe_seconds, time.perf_counter)
    contender = module.build(job, texts)
    meter.built(contender.compile_seconds)
    contender.train(meter)
    result = {
        "contender": job.contender,
        "seed": job.seed,
        "lr": job.lr,
        "dtype": job.dtype,
        "planned_steps": job.num_steps,
        **meter.summary(),
        **contender.facts,
        "train_loss": _finite(meter.final_train_loss),
        "was_cut": job.probe_seconds is None and meter.num_steps < job.num_steps,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if job.probe_seconds is None:
        started_at = time.perf_counter()
        result["bits_per_byte"] = _finite(
            held_out_bits_per_byte(contender.logits, texts.held_out_tokens(), texts.token_bytes(), job.shape.seq_len)
        )
        result["judging_seconds"] = time.perf_counter() - started_at
    return result


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    write_json(result_path, run(Job.from_json(read_json(job_path))))
