"""The ladder as its user sees it: small runs in the run's folder, a forecast, and a place to resume from."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from small_run import call, quick, require_clear_error, write_run_file, write_texts

from headwater.core.errors import CheckpointError, ConfigError
from headwater.machine.host.load import LoadMeter
from headwater.model.settings import ModelSettings
from headwater.plan import times
from headwater.plan.rungs import DEFAULT_SHARES, Rung, choose_rungs, done_rung
from headwater.plan.text_size import epochs_of
from headwater.runfile.run_config import load_run
from headwater.runs.ladder import climb, prepare_ladder

ARGUMENTS = ("ladder", "mine.toml", "--share", "9", "--json")
LENGTH = {"train__num_steps": 252, "model__num_layers": 3, "model__d_model": 32}
NUM_FILES = 90  # the run reads them twice


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """A folder with a run whose ladder is done, and what the command said."""
    folder = tmp_path_factory.mktemp("ladder")
    write_texts(folder / "texts", NUM_FILES)
    write_run_file(folder / "mine.toml", **LENGTH, train__profile_steps=[2, 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "MIN_TIMED_SECONDS", 0.0)  # the steps of rungs so short are kept, too
        patch.setattr(LoadMeter, "note", lambda self, num_threads=None: None)  # and those under load
        said = call(*ARGUMENTS, cwd=folder)
    return folder, said


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the same run, of which nothing is made."""
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", NUM_FILES)
    write_run_file(tmp_path / "mine.toml", **LENGTH)
    return tmp_path


def test_the_rungs_are_runs_of_the_same_text(ladder):
    folder, said = ladder
    assert said.status == 0, said
    assert len(said.json["rungs"]) == 6
    text = (folder / "runs/mine/data/tokens/manifest.json").read_bytes()
    for rung in said.json["rungs"]:
        run_dir = folder / "runs/mine/ladder" / rung["name"]
        config = json.loads((run_dir / "config.json").read_text())["settings"]
        assert (run_dir / "data/tokens/manifest.json").read_bytes() == text
        assert config["train"]["num_steps"] == rung["num_steps"]
        assert config["train"]["batch_tokens"] == 512
        assert config["model"]["d_model"] == rung["d_model"]
        assert config["train"]["profile_steps"] is None


def test_rungs_read_their_text_as_often_as_the_run_would(ladder, monkeypatch):
    folder, said = ladder
    monkeypatch.chdir(folder)
    (times,) = epochs_of(load_run("mine.toml", [])[0]).by_source.values()
    assert times > 1
    for rung in said.json["rungs"]:
        records = (folder / "runs/mine/ladder" / rung["name"] / "records.jsonl").read_text().splitlines()
        (start,) = [record for record in map(json.loads, records) if record["event"] == "start"]
        assert start["plan"]["sources"]["mine"]["epochs"] == pytest.approx(times, rel=0.05)


def test_what_is_done_isnt_trained_again(ladder):
    folder, said = ladder
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/mine/ladder/*/records.jsonl")}
    again = call(*ARGUMENTS, cwd=folder)
    assert again.json["rungs"] == said.json["rungs"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("runs/mine/ladder/*/records.jsonl")}


@pytest.mark.parametrize("changed", ["text", "settings"])
def test_rungs_of_other_text_or_settings_count_for_nothing(ladder, tmp_path, changed):
    shutil.copytree(ladder[0], tmp_path / "here", symlinks=True)
    if changed == "text":
        write_texts(tmp_path / "here/texts", NUM_FILES + 10)
    settings = ["optim.matrix_lr=0.001"] if changed == "settings" else []
    with contextlib.chdir(tmp_path / "here"), quick():
        name = "text" if changed == "text" else r"optim\.matrix_lr"
        with pytest.raises(ConfigError, match=rf"other settings:\n  {name}: was .*\nRename it or remove it, .*name=…"):
            prepare_ladder("mine.toml", settings, 9.0, lambda line: None)
        Path("runs/mine/ladder").rename("runs/mine/before")
        other = prepare_ladder("mine.toml", settings, 9.0, lambda line: None)
        assert [done_rung(other.config, rung) for rung in other.rungs] == [None] * 6


def test_an_interrupted_ladder_resumes_to_the_same_losses(ladder, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(ladder[0], here, symlinks=True)
    name = ladder[1].json["rungs"][2]["name"]
    shutil.rmtree(here / "runs/mine/ladder" / name)

    def stop(record):
        if record["event"] == "step" and record["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.chdir(here), quick():
        chosen = prepare_ladder("mine.toml", [], 9.0, lambda line: None)
        heard = []
        assert climb(chosen, lambda config: stop, heard.append) is None
        assert heard[-1] == "2 of 6 rungs are trained; the same command resumes"
        assert [rung.name for rung in chosen.rungs if done_rung(chosen.config, rung) is None] == [name]
    again = call(*ARGUMENTS, cwd=here)
    assert again.status == 0, again
    assert "resuming from step 5" in again.err
    losses = [{rung["name"]: rung["loss_by_source"] for rung in said.json["rungs"]} for said in (ladder[1], again)]
    assert losses[0] == losses[1]


def test_a_rung_that_was_trained_with_other_settings_is_refused_and_stays_as_it_is(ladder, tmp_path):
    here = Path(shutil.copytree(ladder[0], tmp_path / "here", symlinks=True))
    rung = here / "runs/mine/ladder" / ladder[1].json["rungs"][0]["name"]
    (rung / "rung.json").unlink()  # as one that was killed before it was written
    before = (rung / "config.json").read_bytes()
    with contextlib.chdir(here), quick():
        rule = load_run("mine.toml")[0].optim.matrix_lr  # the run's own, and so no other ladder; a rung has another
        chosen = prepare_ladder("mine.toml", [f"optim.matrix_lr={rule}"], 9.0, lambda line: None)
        with pytest.raises(CheckpointError, match=r"optim\.matrix_lr: was"):
            climb(chosen, lambda config: lambda record: None, lambda line: None)
    assert (rung / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--share", "0.0001"), "at least"), (("--share", "-1"), "above zero"), (("train.num_steps=60",), "too short")],
)
def test_impossible_ladders_are_refused(ladder, arguments, says):
    folder, _ = ladder
    name = ["name=other"] if "train.num_steps=60" in arguments else []
    require_clear_error(call("ladder", "mine.toml", *name, *arguments, cwd=folder), says)


def made_rung(num_layers: int, num_steps: int, seconds: float) -> Rung:
    heads = {"num_heads": 1, "num_kv_heads": 1, "head_dim": 64, "d_ff": 192}
    model = ModelSettings(num_layers=num_layers, d_model=64, **heads, vocab_size=512, seq_len=64)
    return Rung(model, num_steps, 1e3 * num_steps, flops=6e5 * num_layers * 1e3 * num_steps, seconds=seconds)


@pytest.mark.parametrize(("seconds", "most"), [(6.0, 40.0), (8.0, 50.0), (9.5, 60.0)])
def test_a_ladder_takes_two_fifths_of_the_run_or_of_a_short_one_up_to_three(seconds, most):
    target = made_rung(8, 1000, 100.0)
    candidates = [made_rung(layers, steps, seconds) for layers in (1, 2, 4, 8) for steps in (125, 250, 500)]
    chosen = choose_rungs(candidates, target, DEFAULT_SHARES)
    assert most - 10 < sum(rung.seconds for rung in chosen) <= most
