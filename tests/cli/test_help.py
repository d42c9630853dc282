"""Help is immediate because it loads nothing heavy, names every verb, and fits a terminal of 80 columns."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from golden_rows import rows
from small_run import call, environment, run

from headwater.cli.main import command_line
from headwater.cli.verbs import SECTIONS, summary

HEAVY = "torch numpy pydantic pyarrow plotly tokenizers safetensors resiliparse scipy transformers"
ROOT: Any = typer.main.get_command(command_line())


def below(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the words of every verb and subverb."""
    inner = getattr(command, "commands", {})
    return [path, *(each for name, one in inner.items() for each in below(one, (*path, name)))]


VERBS = below(ROOT)


def command_at(path: tuple[str, ...]) -> Any:
    command = ROOT
    for name in path:
        command = command.commands[name]
    return command


@pytest.fixture
def help_of(tmp_path, monkeypatch):
    """Return what a verb's help says on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def help_of(path: tuple[str, ...], flag: str = "-h") -> str:
        said = call(*" ".join(path).split(), flag, cwd=tmp_path)  # a verb may have two words
        assert (said.status, said.err) == (0, ""), said
        return said.out

    return help_of


def loaded_by(*arguments: str) -> set[str]:
    """Return the heavy modules that are loaded when headwater ends."""
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('LOADED', *[name for name in {HEAVY.split()!r} if name in sys.modules], file=sys.stderr))\n"
        "from headwater.cli.main import main\n"
        f"sys.argv = ['headwater', *{arguments!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=environment())
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize("arguments", [(), ("--help",), ("run", "--help"), ("corpus", "trace", "-h")], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    # typer checks the options of a verb with pydantic
    assert loaded_by(*arguments) <= (set() if arguments in (("--help",), ("-h",)) else {"pydantic"})


def test_explaining_settings_needs_no_torch():
    assert "torch" not in loaded_by("explain", "first-light")


def test_there_are_at_most_19_verbs_each_in_one_section():
    named = [verb for verbs in SECTIONS.values() for verb in verbs]
    assert sorted(named) == sorted(name for name, command in ROOT.commands.items() if not command.hidden)
    assert len(named) <= 19


@pytest.mark.parametrize("path", [path for path in VERBS if hasattr(command_at(path), "commands")], ids=" ".join)
def test_a_list_of_verbs_has_each_summary_uncut_on_its_line(help_of, path):
    lines = help_of(path).splitlines()
    for name, command in command_at(path).commands.items():
        if command.hidden:
            continue
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.endswith(f"  {summary(command)}"), f"{name} is cut or wrapped: {line}"


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_the_help_of_every_verb_fits_80_columns_and_explains_every_option(help_of, path):
    said = help_of(path)
    assert said == help_of(path, "--help")
    assert said.startswith(f"Usage: {' '.join(['headwater', *path])}")
    assert max(map(len, said.splitlines())) <= 80
    assert not re.search(r"[{}…]|<[a-z]|\]\.\.\.|None", said), said
    unexplained = [each.name for each in command_at(path).params if not getattr(each, "help", None)]
    assert not unexplained, f"no help for {unexplained}"


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_summary_and_every_option_has_plain_sentences(path):
    command = command_at(path)
    texts = [summary(command), *(each.help for each in command.params if each.name != "help")]
    for text in texts:
        assert text[0].isupper() and text.endswith((".", ")")), text


@pytest.mark.parametrize(
    ("path", "line"), [(("run",), "RUN [setting=value ...] [options]"), (("next",), "PROMPT [options]")]
)
def test_usage_lines_are_as_people_type_them(help_of, path, line):
    assert help_of(path).splitlines()[0] == f"Usage: headwater {path[0]} {line}"


def test_the_version_is_the_packages(tmp_path):
    from importlib.metadata import version

    assert call("--version", cwd=tmp_path).out == f"headwater {version('headwater')}\n"


# ---- wrong usage


@pytest.mark.parametrize(("arguments", "says"), rows("wrong_usage"), ids=str)
def test_wrong_usage_is_one_sentence_that_says_what_to_do(tmp_path, arguments, says):
    said = call(*arguments, cwd=tmp_path)
    assert (said.status, said.out) == (2, ""), said
    assert said.err.startswith("headwater: ")
    assert said.err.count("\n") == 1
    assert says in said.err


@pytest.mark.parametrize(
    ("typed", "offered"), [("headwater ex", "explain export"), ("headwater evaluate --ta", "--tasks")]
)
def test_a_shell_completes_verbs_and_options(tmp_path, typed, offered):
    asks = {"_HEADWATER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    said = run(cwd=tmp_path, **asks)
    assert said.out.split() == offered.split(), said
