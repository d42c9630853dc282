"""A recipe trained on the device and on the processor, killed and resumed, and asked for text."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.files import link_folder
from headwater.core.records import read_records

MAX_FIRST_DIFFERENCE, MAX_LAST_DIFFERENCE = 0.01, 0.03  # of losses in nats: by rounding to bfloat16
PROMPT = "The capital of France is"
POLL_SECONDS = 0.005
NAME = "trained"

Check = Callable[[float], dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """A recipe, its number of steps, and the device; `run_program` runs a command to its end within a limit."""

    runs_dir: Path
    recipe: str
    num_steps: int
    device: str
    run_program: Callable[..., str]

    def checks(self) -> dict[str, Check]:
        return {
            "training on the device": self.on_device,
            "loss beside the processor's": self.beside_processor,
            "killed and resumed": self.killed_and_resumed,
            "generation": self.generation,
        }

    def run_dir(self, of: str) -> Path:
        return self.runs_dir / of / NAME

    def command(self, of: str, device: str, dtype: str) -> list[str]:
        """Return the command that trains, or resumes, one of the runs; all but the first take that one's data."""
        settings = {"name": NAME, "runs_dir": self.runs_dir / of, "train.num_steps": self.num_steps}
        settings |= {"train.save_every": max(1, self.num_steps // 4), "machine.device": device, "machine.dtype": dtype}
        if of != "device":
            self.run_dir(of).mkdir(parents=True, exist_ok=True)
            link_folder(self.run_dir(of) / "data", self.run_dir("device") / "data")
        changed = [f"{name}={value}" for name, value in settings.items()]
        return [sys.executable, "-m", "headwater", "train", self.recipe, *changed]

    def losses(self, of: str) -> list[float]:
        """Return the losses of a run's steps; raise ValueError where it didn't end."""
        found = [step["loss"] for step in read_records(self.run_dir(of) / "records.jsonl", "step")]
        if len(found) != self.num_steps:
            raise ValueError(f"{of}: {len(found)} of {self.num_steps} steps are recorded")
        return found

    def on_device(self, limit: float) -> dict[str, Any]:
        self.run_program(self.command("device", self.device, "bfloat16"), limit)
        losses = self.losses("device")
        steps = read_records(self.run_dir("device") / "records.jsonl", "step")
        rates = [step["tokens_per_second"] for step in steps[len(steps) // 2 :]]
        return {"first_loss": losses[0], "last_loss": losses[-1], "tokens_per_second": statistics.median(rates)}

    def beside_processor(self, limit: float) -> dict[str, Any]:
        self.run_program(self.command("processor", "cpu", "float32"), limit)
        return compared(self.losses("device"), self.losses("processor"))

    def killed_and_resumed(self, limit: float) -> dict[str, Any]:
        """Kill a run of the same settings in its second half and resume it; losses and weights must be the first's."""
        ends_at, records = time.monotonic() + limit, self.run_dir("killed") / "records.jsonl"
        command = self.command("killed", self.device, "bfloat16")
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            while len(read_records(records, "step")) <= self.num_steps // 2:
                if process.poll() is not None or time.monotonic() > ends_at:
                    raise ValueError(f"the run wasn't in its second half in time, or ended ({process.poll()})")
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                raise ValueError("the run ended before it was killed; take more --steps")
        self.run_program(command, ends_at - time.monotonic())
        (resumed,) = read_records(records, "resume")
        expected, found = self.losses("device"), self.losses("killed")
        if found != expected:
            first = next(number for number, pair in enumerate(zip(expected, found), 1) if len(set(pair)) > 1)
            raise ValueError(f"resumed at step {resumed['step']}; from step {first} on losses differ")
        if self._weights("killed") != self._weights("device"):
            raise ValueError("all losses are the same, and the last weights differ")
        return {"resumed_at": resumed["step"], "result": "the same bits"}

    def _weights(self, of: str) -> bytes:
        return (max((self.run_dir(of) / "checkpoints").glob("step-*")) / "model.safetensors").read_bytes()

    def generation(self, limit: float) -> dict[str, Any]:
        """Have the run continue a text, the likeliest tokens, on the device and on the processor."""
        command = [sys.executable, "-m", "headwater", "generate", "--run", self.run_dir("device"), "--json", PROMPT]
        command += ["--temperature", "0", "--max-tokens", "40"]
        started_at = time.monotonic()
        found = json.loads(self.run_program(command, limit))
        seconds = time.monotonic() - started_at
        if self.device != "cpu":
            expected = json.loads(self.run_program(command, limit - seconds, CUDA_VISIBLE_DEVICES=""))
            if expected["text"] != found["text"]:
                raise ValueError(f"the device writes {found['text']!r}, the processor {expected['text']!r}")
        return {"text": found["text"], "num_tokens": found["num_tokens"], "seconds_with_start": round(seconds, 1)}


def compared(found: list[float], expected: list[float]) -> dict[str, Any]:
    """Return how far two runs' losses lie from one another; raise ValueError where it is more than rounding does."""
    last = max(1, len(expected) // 10)
    first_off = found[0] - expected[0]
    last_off = statistics.fmean(found[-last:]) - statistics.fmean(expected[-last:])
    largest = max(abs(one - other) for one, other in zip(found, expected, strict=True))
    text = f"first loss {first_off:+.4f}, mean of the last {last} {last_off:+.4f}, largest difference {largest:.4f}"
    if not (abs(first_off) <= MAX_FIRST_DIFFERENCE and abs(last_off) <= MAX_LAST_DIFFERENCE and math.isfinite(largest)):
        raise ValueError(f"{text}; allowed are {MAX_FIRST_DIFFERENCE} and {MAX_LAST_DIFFERENCE}")
    return {"first_difference": first_off, "last_difference": last_off, "result": text}
