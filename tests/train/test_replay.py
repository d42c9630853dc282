"""A replay comes to the same bits, by the log; and says where, when something of the run was changed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from spiked_run import HARMED, NUM_STEPS, go_on, plant, spiked_plan
from tiny_run import MadeUpRows, plan, train_here

from headwater.core.errors import CheckpointError
from headwater.core.files import digest_bytes, write_json
from headwater.core.manifests import seal
from headwater.machine.host.signals import StopRequest
from headwater.tokens.skipped_rows import FILE
from headwater.train.checkpoint.layout import list_checkpoints, sums_file
from headwater.train.checkpoint.tensor_file import SummedFile
from headwater.train.checkpoint.verify import checked_manifest
from headwater.train.incidents import LiveDecisions
from headwater.train.loop import Replay, replay_training


@pytest.fixture
def copy(spiked, tmp_path) -> Path:
    shutil.copytree(spiked, tmp_path / "copy")
    return tmp_path / "copy"


def replayed(run_dir: Path, the_plan=None) -> Replay:
    return replay_training(run_dir, the_plan or spiked_plan(), MadeUpRows(), lambda record: None, lambda line: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_went_back_is_replayed_from_its_log_without_deciding_anything(copy, monkeypatch):
    """The harm isn't planted: nothing is bad any more, and the rows are skipped all the same."""
    monkeypatch.setattr(LiveDecisions, "decide", None)
    before = contents(copy)
    found = replayed(copy)
    assert (found.difference, found.num_steps) == (None, NUM_STEPS)
    assert contents(copy) == before


def test_a_run_stopped_twice_is_replayed_as_one(tmp_path, monkeypatch):
    """And nothing of it is profiled: two profilers in a process crash torch."""
    settings = plan(profile_steps=[2, 3])
    for step in (5, 7):
        train_here(tmp_path, settings, stop_after=step)
    monkeypatch.setattr("headwater.machine.device.profile.profile", None)
    found = replayed(tmp_path, settings)
    digest = checked_manifest(list_checkpoints(tmp_path)[0][1])["state_digest"]
    assert found == Replay(7, None, digest)


def test_without_its_log_a_run_is_another(copy):
    (copy / FILE).unlink()
    assert replayed(copy).difference.startswith("step 9: loss was 0x")


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_the_last_bit_of_a_recorded_number_is_compared(copy, name):
    lines = (copy / "records.jsonl").read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if '"event":"step"' in line and json.loads(line)["step"] == 3)
    record = json.loads(lines[at])
    record[name] = math.nextafter(record[name], math.inf)
    lines[at] = json.dumps(record)
    (copy / "records.jsonl").write_text("\n".join(lines) + "\n")
    assert replayed(copy).difference.startswith(f"step 3: {name} was 0x")
    assert list(copy.glob("replay-*/records.jsonl")), "kept, to be studied"
    assert replayed(copy).difference
    assert len(list(copy.glob("replay-*"))) == 1, "the earlier one is removed"


def test_one_bit_of_the_final_weights_is_compared(copy):
    path = list_checkpoints(copy)[0][1]
    file, manifest = path / "model.safetensors", json.loads((path / "manifest.json").read_text())
    tensors = load_file(file)
    tensors["embed.weight"].view(torch.int32)[0, 0] ^= 1
    file.unlink()
    with SummedFile(file) as written:
        written.write(save(tensors))
    sums_file(file).write_bytes(written.sums())
    for changed in (file, sums_file(file)):
        manifest["files"][changed.name]["digest"] = digest_bytes(changed.read_bytes())
    rest = {name: value for name, value in manifest.items() if name != "seal"}
    write_json(path / "manifest.json", seal(rest))
    assert replayed(copy).difference == (f"weights or optimizer state at step {NUM_STEPS} differ from those of {path}")


def test_a_checkpoint_that_the_run_went_back_from_is_not_what_is_replayed(tmp_path, monkeypatch):
    """The process died between writing down that it goes back and removing what it goes back from."""
    monkeypatch.setattr("headwater.train.incidents.abandoned", None)
    plant(monkeypatch, HARMED)
    stop = StopRequest()
    go_on(tmp_path, spiked_plan(), lambda r: r["step"] == 10 and setattr(stop, "signal_name", "SIGTERM"), stop)
    with pytest.raises(TypeError, match="NoneType"):
        go_on(tmp_path, spiked_plan())
    assert list_checkpoints(tmp_path)[0][0] == 10
    found = replayed(tmp_path)
    assert (found.difference, found.num_steps) == (None, 8)


def test_a_run_without_a_checkpoint_has_nothing_to_replay(tmp_path):
    with pytest.raises(CheckpointError, match="there is nothing to replay"):
        replayed(tmp_path)
