"""Every verb takes a recipe's name, a run file or a run folder; a name that is none of them gets the nearest one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from small_run import call, overrides, require_clear_error

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


@pytest.mark.parametrize("verb", ["evaluate", "report", "export", "corpus show"])
def test_a_run_may_be_named_by_an_option_too(here, verb):
    assert call(*verb.split(), "--run", "runs/mine", cwd=here).out == call(*verb.split(), "runs/mine", cwd=here).out


def test_corpus_show_finds_the_run_of_other_settings_than_its_file_has(here):
    shutil.copytree(here / "runs/mine", here / "elsewhere/mine", symlinks=True)
    said = call("corpus", "show", "mine.toml", "runs_dir=elsewhere", "--json", cwd=here)
    assert said.out == call("corpus", "show", "runs/mine", "--json", cwd=here).out
    missing = call("corpus", "show", "mine.toml", "runs_dir=nowhere", cwd=here)
    require_clear_error(missing, "nowhere/mine")


@pytest.mark.parametrize("verb", OF_SETTINGS)
def test_a_verb_on_settings_takes_a_run_folder_and_leaves_its_settings_alone(here, verb):
    before = (here / "runs/mine/config.json").read_bytes()
    said = call(*arguments(verb, OF_SETTINGS[verb], "runs/mine"), cwd=here)
    if verb in NOTHING_TO_DO:
        require_clear_error(said, NOTHING_TO_DO[verb])
    else:
        assert said.status == 0, said
    assert (here / "runs/mine/config.json").read_bytes() == before


@pytest.mark.parametrize("verb", [("explain", "other"), ("generate", "a", "--run", "other")], ids=" ".join)
def test_beside_a_run_that_is_not_there_those_that_are_stand(tmp_path, verb):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    require_clear_error(call(*verb, cwd=tmp_path), "'other' is no recipe", "runs here: runs/mine")


def test_a_folder_of_text_named_like_the_run_hides_it_from_no_verb(here, tmp_path):
    shutil.copytree(here, tmp_path / "here", symlinks=True)
    (tmp_path / "here/mine").mkdir()
    for verb in ("report", "corpus show"):
        assert call(*verb.split(), "mine", cwd=tmp_path / "here").status == 0


def test_a_run_folder_has_the_settings_and_reasons_of_its_file(here):
    of_file = call("explain", "mine.toml", *overrides(), "--json", cwd=here).json
    assert call("explain", "runs/mine", "--json", cwd=here).json == of_file


def test_rules_are_applied_again_beside_other_settings_of_a_run_folder(here):
    change = "model.num_layers=3"
    of_file = call("explain", "mine.toml", *overrides(), change, "name=other", "--json", cwd=here).json
    of_folder = call("explain", "runs/mine", change, "name=other", "--json", cwd=here).json
    assert of_folder["settings"] == of_file["settings"]
    origins = [[(each["setting"], each["origin"]) for each in value["reasons"]] for value in (of_folder, of_file)]
    assert [each for each in origins[0] if each[0] != "runs_dir"] == [
        each for each in origins[1] if each[0] != "runs_dir"
    ]


def test_a_run_may_be_named_by_its_name_alone(here, tmp_path):
    by_file, by_name = (call("explain", name, "--json", cwd=here).json for name in ("mine.toml", "mine"))
    assert by_name == by_file
    assert call("corpus", "show", "mine", cwd=here).out == call("corpus", "show", "runs/mine", cwd=here).out
    (tmp_path / "runs").symlink_to(here / "runs")
    own, folder = (call("explain", name, "--json", cwd=tmp_path).json for name in ("mine", "runs/mine"))
    assert own == folder


def test_a_run_that_has_begun_only_is_listed_and_names_its_command(tmp_path):
    (tmp_path / "runs/first-light/data").mkdir(parents=True)
    said = call("next", "hi", "--run", "first-light", cwd=tmp_path)
    require_clear_error(said, "`headwater run first-light` makes one", status=(2,))
    assert "not started" in call(cwd=tmp_path).out


def test_a_run_folder_whose_settings_have_other_names_says_which_file_that_is(here):
    folder = here / "runs" / "other"
    folder.mkdir()
    text = next((here / "runs").glob("*/config.json")).read_text()
    assert "num_probes" in text
    (folder / "config.json").write_text(text.replace("num_probes", "num_looks"))
    said = call("explain", "runs/other", cwd=here)
    shutil.rmtree(folder)
    require_clear_error(said, "did you mean num_probes?", "other/config.json doesn't fit", status=(2,))


# ---- headwater alone


def test_headwater_alone_lists_recipes_runs_and_commands(here):
    said = call(cwd=here)
    assert (said.status, said.err) == (0, "")
    for recipe in ("first-light", "gpt2-124m", "standard"):
        assert f"  {recipe} " in said.out
    assert "finished, step 24" in said.out
    assert "headwater run first-light" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
