"""Whole runs on a GPU: they learn as on a processor in every number format, repeat to the bit, and wait once a step."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import without_clock
from tiny_run import plan, train_here

from headwater.core.records import read_records
from headwater.machine.device.compiled import MIN_CAPABILITY
from headwater.machine.device.settings import MachineSettings

# torch's own, when it traces
pytestmark = [pytest.mark.filterwarnings("ignore")]


def losses(folder: Path, device: str, **machine) -> list[float]:
    return [record["loss"] for record in records_of(folder, device, **machine) if record["event"] == "step"]


def records_of(folder: Path, device: str, num_steps: int = 12, **machine) -> list[dict]:
    run = replace(plan(num_steps=num_steps), machine=MachineSettings(device=device, num_threads=1, **machine))
    run = replace(run, model=run.model.model_copy(update={"head_dim": 16, "d_ff": 48}))
    train_here(folder, run)
    return read_records(folder / "records.jsonl")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8"])
@pytest.mark.parametrize("compile", ["on", "off"])
def test_a_run_learns_as_on_a_processor(tmp_path, dtype, compile):
    if dtype == "float8":
        if importlib.util.find_spec("torchao") is None:
            pytest.skip("torchao is missing: pip install 'headwater[fp8]'")
        if torch.cuda.get_device_capability() < MIN_CAPABILITY or compile == "off":
            pytest.skip("float8 needs a GPU that multiplies it, and compilation")
    expected = losses(tmp_path / "cpu", "cpu", dtype="float32", compile="off")
    found = losses(tmp_path / "cuda", "cuda", dtype=dtype, compile=compile)
    assert found[0] == pytest.approx(expected[0], rel=0.01)
    assert found[-1] < found[0]
    assert found[-1] == pytest.approx(expected[-1], rel=0.05)


@pytest.mark.parametrize("compile", ["on", "off"])
def test_a_run_repeats_to_the_bit(tmp_path, compile):
    runs = [without_clock(records_of(tmp_path / name, "cuda", dtype="bfloat16", compile=compile)) for name in "ab"]
    # when a save is recorded is a matter of the disk
    first, second = ([record for record in run if record["event"] == "step"] for run in runs)
    assert first == second


def test_the_host_waits_once_a_step(tmp_path):
    """As a step's loss and norm are read; what saves and evaluations read comes on top, so of two runs the difference."""

    def waits(num_steps: int) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run = plan(num_steps=num_steps, save_every=100, validate_every=100, num_probes=0)
                run = replace(
                    run, machine=MachineSettings(device="cuda", num_threads=1, dtype="bfloat16", compile="off")
                )
                train_here(tmp_path / str(num_steps), run)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing CUDA operation" in str(one.message) for one in caught)

    assert waits(12) - waits(8) == 4


def test_steps_and_saves_say_how_much_of_the_gpus_memory_was_held(tmp_path):
    for record in records_of(tmp_path, "cuda", dtype="bfloat16", compile="off"):
        if record["event"] in ("step", "checkpoint"):
            assert record["peak_memory_bytes"] > 100_000, record["event"]
