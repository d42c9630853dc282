"""Help answers at once because it loads nothing heavy, and names every verb."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_run import call, environment, run

from headwater.cli.plan_group import QUESTIONS

HEAVY = (
    "torch",
    "numpy",
    "pydantic",
    "pyarrow",
    "plotly",
    "tokenizers",
    "safetensors",
    "resiliparse",
    "scipy",
    "transformers",
)
VERBS = (
    "run",
    "train",
    "new",
    "explain",
    "schema",
    "doctor",
    "next",
    "generate",
    "surprise",
    "evaluate",
    "report",
    "corpus",
    "tokenizer",
    "export",
    "plan",
    "law",
)


def loaded_by(*arguments: str) -> set[str]:
    """Return the heavy modules that are loaded when headwater ends."""
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))\n"
        "from headwater.cli.main import main\n"
        f"sys.argv = ['headwater', *{arguments!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=environment())
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("corpus", "trace", "--help"), ("law", "fit", "--help")], ids=" ".join
)
def test_help_loads_nothing_heavy(arguments):
    # a verb's help names settings, which pydantic checks
    assert loaded_by(*arguments) <= ({"pydantic"} if len(arguments) > 1 else set())


@pytest.mark.parametrize("verb", ["run", "search", "count", "track-record"])
def test_the_help_of_plan_names_every_option_of_its_verbs(tmp_path, verb):
    options = {word for word in call("plan", verb, "--help", cwd=tmp_path).out.split() if word.startswith("--")}
    heading, following = (
        f"plan {QUESTIONS[name][0]}:" for name in (verb, (*QUESTIONS, verb)[[*QUESTIONS].index(verb) + 1])
    )
    section = call("plan", "--help", cwd=tmp_path).out.split(heading)[1].split(following)[0]
    assert options - {"--help"} <= {*heading.split(), *section.split()}, options


def test_the_help_of_plan_loads_nothing_heavy():
    assert loaded_by("plan", "--help") <= {"pydantic"}


def test_explaining_settings_needs_no_torch():
    assert "torch" not in loaded_by("explain", "first-light")


def test_help_names_every_verb(tmp_path):
    said = run("--help", cwd=tmp_path)
    assert said.status == 0
    assert all(f"\n  {verb} " in said.out for verb in VERBS)


def test_no_arguments_show_the_help(tmp_path):
    assert "Commands:" in (said := call(cwd=tmp_path)).out + said.err


@pytest.mark.parametrize(
    "arguments", [("rnu",), ("next",), ("next", "The"), ("run",), ("corpus",), ("run", "a", "--x")], ids=" ".join
)
def test_wrong_usage_exits_with_2_and_no_traceback(tmp_path, arguments):
    said = call(*arguments, cwd=tmp_path)
    assert said.status == 2, said
    assert "Usage:" in said.err + said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize("arguments", [("plan", "--bogus"), ("plan", "mine", "--bogus"), ("plan", "count", "--bogus")])
def test_wrong_usage_of_plan_names_what_was_typed(tmp_path, arguments):
    said = call(*arguments, cwd=tmp_path).err
    verb = "plan count" if "count" in arguments else "plan"
    assert f"Usage: headwater {verb} [OPTIONS]" in said
    assert f"headwater {verb} --help" in said
