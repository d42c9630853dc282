"""What is refused, in words, before anything is written; of several ranks once."""

from __future__ import annotations

import contextlib
import errno
import json
import shlex
from pathlib import Path

import pytest
from golden_rows import rows
from small_run import call, require_clear_error, run, write_run_file, write_texts

from headwater.cli import main
from headwater.cli.main import command_line
from headwater.core.errors import ConfigError, HeadwaterError

LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")

# the words after `headwater`, the class of the error, and what its message has; `mine.toml` is a run file that was never run
ON_FRESH, OF_A_RUN = rows("refusals"), rows("refusals_of_a_run")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A folder with texts and a run file, in which nothing has been run."""
    folder = tmp_path_factory.mktemp("fresh") / "here"
    write_texts(folder / "texts")
    write_texts(folder / LATIN, num_files=2)
    (folder / "empty").mkdir()
    write_run_file(folder / "mine.toml")
    (folder / "runs.csv").write_text("params,tokens,loss\n")
    return folder


def refusal(folder: Path, words: str | list[str]) -> HeadwaterError:
    """Return the error that ends a verb."""
    arguments = shlex.split(words) if isinstance(words, str) else words
    with contextlib.chdir(folder), pytest.raises(HeadwaterError) as found:
        command_line(arguments[0])(arguments, prog_name="headwater", standalone_mode=False)
    return found.value


def contents(folder: Path) -> list[Path]:
    return sorted(path for path in folder.parent.rglob("*") if "lock" not in path.name)


@pytest.mark.parametrize(
    ("words", "kind", "part"), ON_FRESH, ids=lambda value: str(value)[:60].encode("ascii", "replace").decode()
)
def test_what_is_wrong_is_named_before_anything_is_written(fresh, words, kind, part):
    before = contents(fresh)
    error = refusal(fresh, words)
    assert type(error).__name__ == kind and part in str(error), error
    assert contents(fresh) == before


@pytest.mark.parametrize(("words", "kind", "part"), OF_A_RUN)
def test_what_is_wrong_about_a_run_is_named(finished, words, kind, part):
    error = refusal(finished.cwd, words)
    assert type(error).__name__ == kind and part in str(error), error


@pytest.mark.parametrize(("text", "part"), rows("refused_costs"))
def test_a_costs_file_that_cannot_be_says_why(fresh, tmp_path, text, part):
    (tmp_path / "costs.toml").write_text(text)
    for words in ("mine.toml", "--budget 2h"):
        error = refusal(fresh, f"plan {words} --costs {tmp_path / 'costs.toml'}")
        assert isinstance(error, ConfigError) and part in str(error), error


def test_a_model_too_large_for_the_memory_is_refused_before_any_work(fresh):
    assert "GB of memory" in str(refusal(fresh, "run mine.toml model.d_model=10000000"))
    assert not (fresh / "runs/mine/data").exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [("run mien", 2), ("new x nowhere", 1), ("plan --budget 10k", 2), (["new", "a\x1b[31m", "--text", "texts"], 2)],
)
def test_an_error_is_one_message_on_standard_error_and_its_classes_exit_status(fresh, words, status):
    said = call(*(shlex.split(words) if isinstance(words, str) else words), cwd=fresh)
    require_clear_error(said, status=(status,))
    assert said.out == "" and "\x1b" not in said.err


def test_the_call_that_a_refusal_advises_is_one(fresh):
    advised = str(refusal(fresh, "plan mine.toml --text-bytes 4G")).rpartition("such as: headwater ")[2]
    assert call(*shlex.split(advised), cwd=fresh).status == 0


def refused(tmp_path: Path, rank: int, setting: str) -> str:
    """Return what one of a machine's two ranks says, started as torchrun does, of a run that it can't begin."""
    path = tmp_path / "given" / "attempt_0" / str(rank) / "error.json"
    path.parent.mkdir(parents=True)
    place = {"RANK": str(2 + rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    said = run("train", "first-light", setting, cwd=tmp_path, TORCHELASTIC_ERROR_FILE=str(path), **place)
    assert said.status == 2, said
    return said.err


def test_the_first_rank_of_a_machine_says_it_and_nothing_is_left_behind(tmp_path):
    needs = "parallel.shard = 3 needs 3 ranks or a multiple of 3, and there are 4"
    assert needs in refused(tmp_path, 0, "parallel.shard=3")
    assert refused(tmp_path, 1, "parallel.shard=3") == ""
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_what_the_system_refuses_a_rank_reaches_the_launcher(tmp_path, monkeypatch):
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))

    def refuse(_verb):
        raise OSError(errno.EMFILE, "Too many open files", "mine.toml")

    monkeypatch.setattr(main, "command_line", refuse)
    said = call("train", "mine.toml", cwd=tmp_path)
    assert (said.status, said.err) == (1, "headwater: mine.toml: Too many open files\n")
    assert json.loads(path.read_text())["message"]["message"] == "mine.toml: Too many open files"


def test_a_restart_says_only_what_was_not_said_before_it(tmp_path):
    def refusal(start: int, setting: str) -> str:
        path = tmp_path / f"attempt_{start}" / "0" / "error.json"
        path.parent.mkdir(parents=True)
        place = {"TORCHELASTIC_ERROR_FILE": str(path), "TORCHELASTIC_RESTART_COUNT": str(start)}
        said = run("train", "first-light", setting, cwd=tmp_path, **place)
        assert said.status == 2 and len(path.read_text()) > 100, said
        return said.err

    assert "train.bath = 3: unknown setting" in refusal(0, "train.bath=3")
    assert refusal(1, "train.bath=3") == ""
    assert "train.bush = 3: unknown setting" in refusal(2, "train.bush=3")


# as a disk does that fails when the text is prepared: each rank finds the damage before its first step
