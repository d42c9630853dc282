"""Settings beside a run that has been made."""

from __future__ import annotations

import shutil

import pytest
from small_run import call, write_run_file

from headwater.runfile.run_config import list_recipes, load_run


def test_every_recipe_is_complete(finished, tmp_path, monkeypatch):
    shutil.copytree(finished.run_dir, tmp_path / "runs" / "first-light")  # a base of some of them
    monkeypatch.chdir(tmp_path)
    for name in list_recipes():
        config, _ = load_run(name, [])
        assert config.name == name


def test_a_run_that_began_says_what_it_computes_in_and_why(finished, tmp_path):
    write_run_file(tmp_path / "mine.toml")
    assert "number format: float32, set by machine.dtype" in call("explain", "runs/mine", cwd=finished.cwd).out
    assert "number format" not in call("explain", "mine.toml", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("way", "cwd"), [("runs/mine/", "."), ("./runs/../runs/mine", "."), ("link", "."), (".", "runs/mine")]
)
def test_a_run_folder_may_be_named_in_any_way(finished, way, cwd):
    link = finished.cwd / "link"
    if not link.exists():
        link.symlink_to("runs/mine")
    said = call("evaluate", "--run", way, "--json", cwd=finished.cwd / cwd)
    assert said.status == 0, said
    assert "evaluating" not in said.out + said.err  # it found what the run has
