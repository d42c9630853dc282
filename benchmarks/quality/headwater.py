"""One run of headwater on prepared texts: `python -m quality.headwater JOB.json RESULT.json`.

Its rules and its loop are those of `headwater train`; sizes, seed and length come from the job. The last checkpoint is
written as in any run, the held-out text judged after it.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from headwater.batches.mixture import make_plan
from headwater.batches.source import BatchSource
from headwater.errors import ConfigError
from headwater.files import read_json, write_json, write_text
from headwater.host.signals import StopRequest
from headwater.runs.run_config import RunConfig, load_run, train_plan
from headwater.tokenizer.special import BEGIN_ID
from headwater.train.loop import train
from headwater.train.start import assemble, past_to_resume
from job import Shape
from quality.job import Job
from quality.judge import held_out_bits_per_byte
from quality.texts import Texts

OF_THE_JOB = (
    "name",
    "seed",
    "runs_dir",
    "corpus",
    "tokenizer",
    "train.num_steps",
    "model.vocab_size",
    "machine.device",
)
FIRST_STEPS = 3  # in which functions are compiled; their time says nothing about the others'


def resolve(shape: Shape, seed: int, num_steps: int, settings: tuple[str, ...]) -> RunConfig:
    """Return the settings of a run of this length; raise ConfigError for one that this benchmark decides itself."""
    for setting in settings:
        name = setting.partition("=")[0].strip()
        if any(name == own or name.startswith(own + ".") for own in OF_THE_JOB):
            raise ConfigError(f"{name} is decided by the benchmark and its arguments; leave it out")
    fixed = {
        "seed": seed,
        "tokenizer.vocab_size": shape.vocab_size,
        "train.num_steps": num_steps,
        "machine.device": "cpu",
        "corpus.sources.text.paths": '["prepared"]',
    }
    sizes = {
        "model.num_layers": shape.num_layers,
        "model.d_model": shape.d_model,
        "model.seq_len": shape.seq_len,
        "train.save_every": num_steps,
        "train.validate_every": num_steps,
        "train.num_probes": 0,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ablation.toml"
        write_text(path, "")
        lines = [f"{name}={value}" for name, value in (sizes | fixed).items()]
        config, _ = load_run(str(path), [*lines, *settings])
    if config.model.seq_len < shape.seq_len:
        raise ConfigError(f"model.seq_len={config.model.seq_len} is shorter than the windows of {shape.seq_len}")
    return config


def run(job: Job) -> dict[str, Any]:
    """Return bits per byte, None for a run that diverged, and the mean seconds of a step after the first ones."""
    texts = Texts(Path(job.texts))
    config = resolve(job.shape, job.seed, job.num_steps, job.settings)
    source = texts.train_rows(config.model.seq_len)
    plan = make_plan({"text": source.num_rows}, config.mixture, config.num_rows)
    batches = BatchSource({"text": source}, plan, config.model.seq_len, config.seed)
    ends: list[float] = []

    def display(record: dict[str, Any]) -> None:
        if record["event"] == "step":
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        run_dir, train_settings = Path(folder), train_plan(config)
        past = past_to_resume(run_dir, train_settings, batches, lambda line: None)
        assembled = assemble(run_dir, train_settings, batches, past, lambda line: None)
        try:
            train(assembled, None, display, StopRequest())
        finally:
            assembled.records.close()

    def logits(tokens_BT: Tensor) -> Tensor:
        documents_BT = (tokens_BT == BEGIN_ID).cumsum(dim=1)
        with torch.no_grad():
            return assembled.prepared.model.logits(assembled.prepared.model.hidden(tokens_BT, documents_BT))

    bits = held_out_bits_per_byte(logits, texts.held_out_tokens(), texts.token_bytes(), job.shape.seq_len)
    seconds = [later - earlier for earlier, later in pairwise(ends)]
    return {
        "steps": len(ends),
        "bits_per_byte": bits if math.isfinite(bits) else None,
        "seconds_per_step": fmean(seconds[FIRST_STEPS - 1 :] or seconds or [math.nan]),
    }


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    write_json(result_path, run(Job.from_json(read_json(job_path))))
