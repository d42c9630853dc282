"""A dry run says what a run then does, and writes nothing."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import call, quick, write_run_file, write_texts

import headwater


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def actions(folder: Path, *overrides: str, status: int | None = 0) -> dict[str, str]:
    """Return {stage: action} of a dry run by the command, after which everything is as it was."""
    before = contents(folder)
    said = call("run", "mine.toml", *overrides, "--dry-run", "--json", cwd=folder)
    assert status is None or said.status == status, said
    assert contents(folder) == before
    return {each["stage"]: each["action"] for each in said.json["stages"]}


DATA, AFTER = ("corpus", "tokenizer", "tokens"), ("evaluation", "export", "report")


def lost(*names: str):
    def lose(run_dir: Path) -> None:
        for path in (run_dir / name for name in names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return lose


@pytest.mark.parametrize(
    ("damage", "overrides", "due"),
    [
        (lambda run_dir: None, [], {}),
        (lost("report.html"), [], {"report": "do"}),
        (lost("export/hf"), [], {"export": "do", "report": "do"}),
        (lost("evaluation.json"), [], dict.fromkeys(AFTER, "do")),
        (lost("checkpoints/step-000000008"), [], {"training": "resume"} | dict.fromkeys(AFTER, "do")),
        (lost("checkpoints"), [], {"training": "do"} | dict.fromkeys(AFTER, "do")),
        (lost("data/tokens"), [], {"tokens": "do", "training": "resume"} | dict.fromkeys(AFTER, "do")),
        (lambda run_dir: None, ["name=new"], dict.fromkeys((*DATA, "training", *AFTER), "do")),
    ],
)
def test_what_is_left_to_do_is_said_and_done(finished_copy, damage, overrides, due):
    damage(finished_copy / "runs/mine")
    stages = dict.fromkeys((*DATA, "training", *AFTER), "skip")
    assert actions(finished_copy, *overrides) == stages | due
    assert call("run", "mine.toml", *overrides, cwd=finished_copy).status == 0
    assert actions(finished_copy, *overrides) == stages, "nothing is left to do"


@pytest.mark.parametrize(
    ("overrides", "stage"),
    [(["optim.beta2=0.9"], "training"), (["train.num_steps=6"], "training"), (["corpus.seed=9"], "corpus")],
)
def test_what_a_run_refuses_is_refused_with_its_words(finished_copy, overrides, stage):
    assert actions(finished_copy, *overrides, status=2)[stage] == "refuse"
    refused = call("run", "mine.toml", *overrides, cwd=finished_copy)
    shown = call("run", "mine.toml", *overrides, "--dry-run", "--json", cwd=finished_copy).json["refused"]
    assert refused.status and any(why in refused.err for why in shown), (refused, shown)


def test_a_run_that_has_not_begun_is_planned_and_leaves_no_folder(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml")
    with contextlib.chdir(tmp_path), quick():
        found = headwater.dry_run("mine.toml", train={"num_steps": 30})
    assert found.plan is not None and found.plan["counts"]["num_steps"] == 30
    assert found.refused == () and not (tmp_path / "runs").exists()
    said = call("run", "mine.toml", "--dry-run", cwd=tmp_path)
    assert "memory" in said.out and "corpus          do: " in said.out, said


def test_text_that_is_not_there_is_refused(tmp_path):
    write_run_file(tmp_path / "mine.toml")
    assert actions(tmp_path, status=2) == {"corpus": "refuse"}


@given(steps=st.integers(1, 40))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_another_number_of_steps_is_refused_where_the_run_refuses_it(finished_copy, steps):
    """What a rule made of the begun run stays, in a dry run as in a run; of more steps than it has none is trained here."""
    changed = [f"train.num_steps={steps}"]
    is_refused = actions(finished_copy, *changed, status=None).get("training") == "refuse"
    assert is_refused == (steps < 8)
