"""Keys and tokens in the environment, and in places of a run file that are none of ours, are in no file and no message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_run import Said, call, environment, write_run_file, write_texts

CANARY = "canary7f3a9c51"
SECRETS = {
    name: f"{name.lower()}-{CANARY}"
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "OPENAI_API_KEY", "MY_OWN_PASSWORD")
}


@pytest.fixture
def secrets(monkeypatch) -> None:
    """Put the secrets into this process's environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def require_silence(said: Said, folder: Path) -> None:
    """Check that no canary was printed or written; folder and file names count as well."""
    assert CANARY not in str(said)
    found = [path for path in folder.rglob("*") if CANARY in str(path) or holds_canary(path)]
    assert not found


def holds_canary(path: Path) -> bool:
    return path.is_file() and path.name != "mine.toml" and CANARY.encode() in path.read_bytes()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with texts, one web page among them, for which a process that parses is started."""
    write_texts(tmp_path / "texts")
    (tmp_path / "texts" / "page.html").write_text("<title>A page</title><p>" + "A page has words of its own. " * 20)
    write_run_file(tmp_path / "mine.toml", train__num_steps=6)
    return tmp_path


def test_a_run_writes_and_says_nothing_of_its_environment(folder, secrets):
    path = folder / "mine.toml"
    path.write_text(f"# password = {CANARY}\n{path.read_text()}")
    said = call("run", "mine.toml", cwd=folder)
    assert said.status == 0, said
    assert (folder / "runs" / "mine" / "report.html").exists()
    require_silence(said, folder)
    for arguments in (("explain", "mine.toml"), ("doctor",), ("corpus", "show", "runs/mine")):
        require_silence(call(*arguments, cwd=folder), folder)


@pytest.mark.parametrize(
    "place", ["api_key = '{}'", "[train]\ntoken = '{}'", "[secrets]\naws = '{}'", "[optim.deep]\nkeys = ['{}']"]
)
def test_a_run_file_with_a_secret_in_a_foreign_place_is_refused_without_telling_it(tmp_path, place, secrets):
    write_texts(tmp_path / "texts", 2)
    (tmp_path / "mine.toml").write_text(place.format(CANARY))
    said = call("run", "mine.toml", cwd=tmp_path)
    assert said.status == 2, said
    assert "unknown setting" in said.err, said
    require_silence(said, tmp_path)


def test_a_run_file_that_is_no_toml_is_refused_without_telling_what_it_holds(tmp_path, secrets):
    (tmp_path / "mine.toml").write_text(f"password = {CANARY}")
    said = call("run", "mine.toml", cwd=tmp_path)
    assert said.status == 2, said
    require_silence(said, tmp_path)


def test_a_fault_of_ours_is_shown_without_the_environment(folder):
    """A traceback shows lines of code, never values."""
    code = (
        "import sys; from unittest import mock; from headwater.cli.main import main\n"
        "sys.argv = ['headwater', 'run', 'mine.toml']\n"
        "with mock.patch('headwater.runs.stages.corpus_inputs', side_effect=RuntimeError('a fault of ours')): main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(**SECRETS), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "a fault of ours" in done.stderr
    require_silence(Said(done.returncode, done.stdout, done.stderr), folder)


def test_a_run_that_fails_says_nothing_of_its_environment(folder, secrets):
    said = call("run", "mine.toml", "runs_dir=texts/00.txt", cwd=folder)
    assert said.status == 1, said
    require_silence(said, folder)
