"""One command gives a finished run more steps; what rules gave it at its start stays."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from small_run import call, quick, require_clear_error, write_run_file, write_texts

from headwater.core.files import read_json
from headwater.core.records import read_all
from headwater.runfile.run_config import load_run
from headwater.runs.running import Call, run

LONGER = ("train.num_steps=48",)


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("short")
    write_texts(folder / "texts", num_files=20)
    write_run_file(folder / "mine.toml")
    with contextlib.chdir(folder), quick():
        assert run(*load_run("mine.toml"), say=lambda line: None).status == "finished"
    return folder


def settings(folder: Path) -> dict:
    return read_json(folder / "runs" / "mine" / "config.json")["settings"]


def lengthened(folder: Path) -> list[str]:
    said: list[str] = []
    with contextlib.chdir(folder), quick():
        assert run(*load_run("mine.toml", LONGER), say=said.append).status == "finished"
    return said


def test_a_longer_run_keeps_what_rules_gave_it_and_puts_later_checkpoints_aside(short, tmp_path):
    here = Path(shutil.copytree(short, tmp_path / "here"))
    before = settings(here)
    said = "\n".join(lengthened(here))
    assert "train.num_steps: was 24, is 48; runs/mine resumes from step 12" in said
    after = settings(here)
    assert (after["train"]["num_steps"], after["optim"]) == (48, before["optim"])
    assert (before["train"]["half_length_fraction"], after["train"]["half_length_fraction"]) == (0.5, 0.25)
    aside = here / "runs/mine/checkpoints-of-24-steps"
    assert (aside / "step-000000024").is_dir()
    assert (aside / "evaluation.json").read_bytes() == (short / "runs/mine/evaluation.json").read_bytes()
    resumed = [each["step"] for each in read_all(here / "runs/mine/records.jsonl") if each["event"] == "resume"]
    assert resumed == [12]


def test_without_a_checkpoint_from_before_the_decay_the_way_on_is_named(short, tmp_path):
    here = Path(shutil.copytree(short, tmp_path / "here"))
    shutil.rmtree(here / "runs/mine/checkpoints/step-000000012")
    said = call("run", "mine.toml", *LONGER, cwd=here)
    advice = "run runs/mine name=mine-longer init.from=runs/mine train.num_steps=24"
    require_clear_error(said, f"headwater {advice}")
    assert settings(here)["train"]["num_steps"] == 24
    said = call(*advice.split(), cwd=here)
    assert said.status == 0 and "mine-longer is done" in said.out, said


def test_a_mixture_that_depends_on_the_number_of_steps_is_compared_by_what_was_read(short, tmp_path):
    here = Path(shutil.copytree(short, tmp_path / "here", ignore=shutil.ignore_patterns("runs")))
    (here / "more").mkdir()
    shutil.copytree(here / "texts", here / "more", dirs_exist_ok=True)
    for number, path in enumerate(sorted((here / "more").glob("*.txt"))):
        path.write_text(path.read_text()[::-1] + str(number))
    both = ['corpus.sources.more.paths=["more"]', "train.save_every=4"]
    late = [*both, "mixture.weights={mine=1, more=1}", "mixture.stages=[{start=0.5, weights={mine=1, more=0}}]"]
    early = [*late[:-1], "mixture.stages=[{start=0.1, weights={mine=1, more=0}}]"]
    for name, stages, expected in (("late", late, 12), ("early", early, None)):
        with contextlib.chdir(here), quick():
            run(*load_run("mine.toml", [*stages, f"name={name}"]), say=lambda line: None, call=Call(last="training"))
        shutil.rmtree(here / "runs" / name / "checkpoints" / "step-000000002", ignore_errors=True)
        said = call("train", "mine.toml", *stages, f"name={name}", *LONGER, cwd=here)
        if expected is None:
            require_clear_error(said, "its mixture, and no checkpoint from before is left")
        else:
            assert f"resumes from step {expected}" in said.out, said


def test_fewer_steps_than_before_are_refused_and_change_nothing(short, tmp_path):
    here = Path(shutil.copytree(short, tmp_path / "here"))
    kept = "runs/mine/checkpoints-of-12-steps/step-000000012"
    (here / kept).mkdir(parents=True)
    said = call("run", "mine.toml", "train.num_steps=12", cwd=here)
    require_clear_error(said, "train.num_steps: was 24, is 12 (a run can be given more steps, not fewer)")
    assert f"The model of 12 steps is kept: `headwater serve --run {kept}` opens it" in said.err
    assert "optim." not in said.err, "rates that follow from the number of steps are no setting to put back"
    assert settings(here)["train"]["num_steps"] == 24
