"""With `train.exact` a run has the same bits on 1 and 2 ranks, also where their number changes on the way."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from many_ranks import calling, slowly, start_programs, start_ranks
from small_run import Said, call, finish, measured, write_run_file, write_texts

from headwater.core.records import read_all, read_records
from headwater.runfile.run_config import load_run
from headwater.runs.stages import prepare_data
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.train.checkpoint.verify import checked_manifest, require_whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NUM_STEPS = 20


def prepare(folder: Path, **changed) -> Path:
    write_texts(folder / "texts", num_files=20)
    settings = {"train__num_steps": NUM_STEPS, "train__save_every": 4, "train__exact": "true"}
    settings |= {"model__num_heads": 2, "model__num_kv_heads": 2, "model__head_dim": 16}
    write_run_file(folder / "mine.toml", **settings | changed)
    return folder


def run_dir(folder: Path) -> Path:
    return folder / "runs" / "mine"


def require_done(said: list[Said]) -> None:
    assert [one.status for one in said] == [0] * len(said), "\n".join(map(str, said))
    assert not any(one.out for one in said[1:]), "a rank that isn't the first has said something"


def state_digest(folder: Path, step: int = NUM_STEPS) -> str:
    digest = checked_manifest(checkpoint_dir(run_dir(folder), step))["state_digest"]
    assert digest is not None
    return digest


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("alone"))
    require_done([call("train", "mine.toml", cwd=folder)])
    return folder


def stopped(folder: Path, world_size: int, *settings: str) -> None:
    """Train on some ranks and stop one that isn't the first, with a signal, once there is a step of theirs."""
    records = run_dir(folder) / "records.jsonl"
    before = len(read_all(records))
    processes = start_ranks(world_size, "train", "mine.toml", *settings, cwd=folder)
    while not any(record["event"] == "step" for record in read_all(records)[before:]):
        assert all(process.poll() is None for process in processes), [str(finish(one)) for one in processes]
        time.sleep(0.01)
    processes[-1].send_signal(signal.SIGTERM)
    said = [finish(process) for process in processes]
    assert {one.status for one in said} == {75}, "\n".join(map(str, said))


def test_divided_weights_are_the_run_of_one_through_a_kill_and_another_layout(alone, tmp_path):
    """Two ranks divide the weights, and one is killed; two with whole weights go on, and are stopped; one ends the run.

    `make elastic` and `make reshard` do so at size, on four, and in every other layout.
    """
    folder = prepare(tmp_path)
    processes = start_ranks(2, "train", "mine.toml", "parallel.shard=2", cwd=folder)
    while not list_checkpoints(run_dir(folder)):
        assert all(process.poll() is None for process in processes), [str(finish(one)) for one in processes]
        time.sleep(0.01)
    processes[-1].kill()
    first, _ = (finish(process) for process in processes)
    assert first.status not in (0, 75), first
    assert "lost the others" in first.err, first
    assert "Traceback" not in first.err, first
    stopped(folder, 2)
    newest, path = list_checkpoints(run_dir(folder))[0]
    assert require_whole(path)["world_size"] == 2
    assert newest < NUM_STEPS, "it was done before the signal came: nothing is shown"
    require_done([call("train", "mine.toml", cwd=folder)])
    assert measured(run_dir(folder)) == measured(run_dir(alone))
    assert state_digest(folder) == state_digest(alone)


def test_a_signal_to_one_rank_after_the_last_step_ends_all_alike(tmp_path, monkeypatch):
    folder = prepare(tmp_path, train__num_steps=4)
    monkeypatch.chdir(folder)
    prepare_data(load_run("mine.toml", [])[0], print)
    train = calling("train", "mine.toml")
    # the first rank's operations delay the last save: it is still under way when the signal comes
    processes = start_programs([slowly(train, 0.04, 20), train], folder)
    while not any(r["step"] == 4 for r in read_records(run_dir(folder) / "records.jsonl", "step")):
        assert all(process.poll() is None for process in processes), [str(finish(one)) for one in processes]
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    said = [finish(process) for process in processes]
    assert {one.status for one in said} == {75}, "\n".join(map(str, said))
    assert "after the last step" in said[0].out
    require_done([call("train", "mine.toml", cwd=folder)])
