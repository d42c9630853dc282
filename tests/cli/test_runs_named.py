"""Every verb takes a recipe's name, a run file or a run folder; a name that is none of them gets the nearest one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from small_run import call, require_clear_error

from headwater.cli.main import command_line

# what a verb needs besides; {} stands for the run
OF_A_FOLDER = {
    "evaluate": "{} --json",
    "report": "{}",
    "export": "{}",
    "next": "The --run {}",
    "generate": "The --run {} --max-tokens 2",
    "surprise": "The --run {}",
    "corpus show": "{}",
    "corpus where": "{} --step 1",
    "corpus tune": "{}",
    "corpus trace": "{} The",
    "corpus tokenizer show": "{}",
}
OF_SETTINGS = {
    "run": "{}",
    "train": "{}",
    "explain": "{}",
    "plan": "{} --json",
    "ladder": "{} --share 2 --json",
    "corpus build": "{}",
    "corpus fetch": "{}",
    "corpus mixture": "{}",
    "corpus tokenizer train": "{}",
    "launch slurm": "{}",
}
OF_A_TUNED_MODEL = {"chat", *(f"downstream {verb}" for verb in ("sft", "rl", "dpo"))}
"Tried in tests/downstream and test_sft_and_chat.py."
WITHOUT_END = {"plan", "serve"}
"Tried in test_plan and tests/page/serve."
NOTHING_TO_DO = {"corpus fetch": "it needs no fetching", "ladder": "the run is too short for a ladder"}


@pytest.fixture(scope="module")
def here(finished, tmp_path_factory) -> Path:
    """A copy of the finished run, which a recipe's run folder is a link to."""
    here = tmp_path_factory.mktemp("named") / "here"
    shutil.copytree(finished.cwd, here, symlinks=True)
    (here / "runs/first-light").symlink_to("mine")
    return here


def arguments(verb: str, given: str, run: str) -> list[str]:
    return [*verb.split(), *(part.format(run) for part in given.split())]


def test_every_verb_that_takes_a_run_is_tried_here():
    def below(command: Any, path: tuple[str, ...]) -> list[str]:
        inner = [name for key, one in getattr(command, "commands", {}).items() for name in below(one, (*path, key))]
        takes_run = any(each.metavar == "RUN" or "--run" in each.opts for each in command.params)
        return [*inner, *([" ".join(path)] if takes_run else [])]

    tried = {*OF_A_FOLDER, *OF_SETTINGS, *OF_A_TUNED_MODEL}
    assert set(below(typer.main.get_command(command_line()), ())) - WITHOUT_END == tried - WITHOUT_END


WAYS = ["first-light", "mine.toml", "runs/mine"]


@pytest.mark.parametrize(
    ("verb", "run"),
    [*((verb, WAYS[number % 3]) for number, verb in enumerate(OF_A_FOLDER)), *(("report", way) for way in WAYS[::2])],
)
def test_a_verb_on_a_trained_run_takes_its_recipe_file_or_folder(here, verb, run):
    said = call(*arguments(verb, OF_A_FOLDER[verb], run), cwd=here)
    assert said.status == 0, said


@pytest.mark.parametrize("verb", OF_SETTINGS)
def test_a_verb_on_settings_takes_a_run_folder_and_leaves_its_settings_alone(here, verb):
    before = (here / "runs/mine/config.json").read_bytes()
    said = call(*arguments(verb, OF_SETTINGS[verb], "runs/mine"), cwd=here)
    if verb in NOTHING_TO_DO:
        require_clear_error(said, NOTHING_TO_DO[verb])
    else:
        assert said.status == 0, said
    assert (here / "runs/mine/config.json").read_bytes() == before


def test_a_folder_of_text_named_like_the_run_hides_it_from_no_verb(here, tmp_path):
    shutil.copytree(here, tmp_path / "here", symlinks=True)
    (tmp_path / "here/mine").mkdir()
    for verb in ("report", "corpus show"):
        assert call(*verb.split(), "mine", cwd=tmp_path / "here").status == 0


def test_a_run_that_has_begun_only_is_listed_and_names_its_command(tmp_path):
    (tmp_path / "runs/first-light/data").mkdir(parents=True)
    said = call("next", "hi", "--run", "first-light", cwd=tmp_path)
    require_clear_error(said, "`headwater run first-light` makes one", status=(2,))
    assert "not started" in call(cwd=tmp_path).out


# ---- headwater alone


def test_headwater_alone_lists_recipes_runs_and_commands(here):
    said = call(cwd=here)
    assert (said.status, said.err) == (0, "")
    for recipe in ("first-light", "gpt2-124m", "standard"):
        assert f"  {recipe} " in said.out
    assert "finished, step 24" in said.out
    assert "headwater run first-light" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
