"""Headwater itself: its rules and its loop, as `headwater train` has them, on the prepared texts.

Settings come from the rules, a recipe file and --set, in rising order; sizes, seed and length come from the job. The
last checkpoint is written as in any run, after the clock has stopped.
"""

from __future__ import annotations

import json
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.batches.mixture import make_plan
from headwater.batches.source import BatchSource
from headwater.compute import compiler_works
from headwater.errors import ConfigError
from headwater.files import write_text
from headwater.model.count import count_parameters
from headwater.runs.run_config import RunConfig, load_run, train_plan
from headwater.tokenizer.special import BEGIN_ID
from headwater.train.loop import train
from headwater.train.start import assemble
from quality.job import Job, Shape
from quality.meter import Meter
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


def recipe_settings(path: Path) -> list[str]:
    """Return the settings of a TOML file as section.setting=value, tables flattened."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--recipe {path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--recipe {path} is not valid TOML: {error}") from None
    return list(_flat(table, ""))


def _flat(table: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={json.dumps(value)}"


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
        path = Path(folder) / "time-to-quality.toml"
        write_text(path, "")
        lines = [f"{name}={value}" for name, value in (sizes | fixed).items()]
        config, _ = load_run(str(path), [*lines, *settings])
    if config.model.seq_len < shape.seq_len:
        raise ConfigError(f"model.seq_len={config.model.seq_len} is shorter than the windows of {shape.seq_len}")
    return config


def matrix_parameters(shape: Shape, settings: tuple[str, ...]) -> int:
    """Return the parameters of the blocks' matrices, for a contender that is to have as many."""
    model = resolve(shape, 1, 1000, settings).model
    heads = (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim * model.d_model
    mlp = (2 if model.family == "gpt2" else 3) * model.d_model * model.d_ff
    return model.num_layers * (heads + mlp)


class StopByClock:
    """Stands for machine.signals.StopRequest: asks to stop when the time is up."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    save_requested = False
    seconds_left = None

    @property
    def signal_name(self) -> str | None:
        return "end of time" if self._meter.is_over else None


class Headwater:
    def __init__(self, job: Job, texts: Texts) -> None:
        config = resolve(job.shape, job.seed, job.num_steps, job.settings)
        source = texts.train_rows(config.model.seq_len)
        plan = make_plan({"text": source.num_rows}, config.mixture, config.num_rows)
        batches = BatchSource({"text": source}, plan, config.model.seq_len, config.seed)
        started_at = time.perf_counter()
        compiler_works(config.machine, torch.device("cpu"))  # kept for what `assemble` asks next
        self.compile_seconds = time.perf_counter() - started_at
        self._folder = tempfile.TemporaryDirectory()
        self._run = assemble(Path(self._folder.name), train_plan(config), batches, lambda line: None)
        counts, machine = count_parameters(config.model), self._run.facts
        self.facts = {
            "parameters": counts.total,
            "matrix_parameters": matrix_parameters(job.shape, job.settings),
            "batch_tokens": config.train.batch_tokens,
            "model": f"{config.model.family}, {config.model.num_heads} heads, {machine.dtype}",
            "device": machine.device_name,
            "compiled": machine.compiled,
            "note": machine.note,
        }

    def train(self, meter: Meter) -> None:
        def display(record: dict[str, Any]) -> None:
            if record["event"] == "step":
                meter.step_done(record["loss"])

        try:
            # the held-out text is judged after the run, as every contender's is
            train(self._run, None, display, StopByClock(meter))  # type: ignore[arg-type]
        finally:
            self._run.records.close()
            self._folder.cleanup()

    def logits(self, tokens_BT: Tensor) -> Tensor:
        documents_BT = (tokens_BT == BEGIN_ID).cumsum(dim=1)
        model = self._run.model
        with torch.no_grad():
            return model.logits(model.hidden(tokens_BT, documents_BT))


def load(job: Job) -> None:
    """Import nothing: this module has imported all of it."""


def build(job: Job, texts: Texts) -> Headwater:
    return Headwater(job, texts)
