"""A run sees the same rows and comes to nearly the same losses on 1 and 2 ranks, also where their number changes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from many_ranks import calling, slowly, start_programs, start_ranks
from small_run import Said, call, finish, write_run_file, write_texts

from headwater.core.files import read_json
from headwater.core.records import read_all, read_records
from headwater.runfile.run_config import load_run
from headwater.runs.stages import prepare_data
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.verify import require_whole

pytestmark = [pytest.mark.timeout(900)]

NUM_STEPS = 20


def prepare(folder: Path, **changed) -> Path:
    write_texts(folder / "texts", num_files=20)
    settings = {"train__num_steps": NUM_STEPS, "train__save_every": 4}
    settings |= {"model__num_heads": 2, "model__num_kv_heads": 2, "model__head_dim": 16}
    write_run_file(folder / "mine.toml", **settings | changed)
    return folder


def run_dir(folder: Path) -> Path:
    return folder / "runs" / "mine"


def require_done(said: list[Said]) -> None:
    assert [one.status for one in said] == [0] * len(said), "\n".join(map(str, said))
    assert not any(one.out for one in said[1:]), "a rank that isn't the first has said something"


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

    `make reshard` does so at size, on four, and in every other layout.
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
    require_alike(alone, folder)


def require_alike(alone: Path, folder: Path) -> None:
    one, two = (read_records(run_dir(of) / "records.jsonl", "step") for of in (alone, folder))
    assert [record["tokens_seen"] for record in one] == [record["tokens_seen"] for record in two]
    losses = [[record["loss"] for record in of[:12]] for of in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_ranks_that_divide_a_model_measure_it_together_as_they_computed(tmp_path):
    """One process measures it in fp32, `headwater evaluate` at least; a model that fits no device has no such process."""
    folder = prepare(tmp_path, train__num_steps=4, machine__dtype='"bfloat16"', train__num_probes=0)
    require_done([finish(one) for one in start_ranks(2, "run", "mine.toml", "parallel.shard=2", cwd=folder)])
    together = read_json(run_dir(folder) / "evaluation.json")
    assert together["dtype"] == "bfloat16"
    alone = call("evaluate", "mine.toml", "--json", cwd=folder).json
    assert together["bits_per_byte"]["all"] == pytest.approx(alone["bits_per_byte"]["all"], rel=5e-3)
    assert together["num_targets"] == alone["num_targets"]


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
