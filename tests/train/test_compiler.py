"""Whether compilation works is found out by compiling, in a process of its own with the compiler of the test's choice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import headwater
from headwater.compute import compiler_works
from headwater.device.compiler import telling_line
from headwater.device.settings import MachineSettings

PROGRAM = """
import torch
from headwater.compute import compiler_works
from headwater.device.settings import MachineSettings
works, why = compiler_works(MachineSettings(), torch.device("cpu"))
print(works)
print(why)
"""


def ask(**environment: str) -> tuple[str, str, str]:
    """Return (whether it works, the sentence, what was shown besides) of a process with that environment.

    Kernels that were compiled before lie in HOME, by compiler and source.
    """
    source = str(Path(headwater.__file__).parents[1])
    inherited = {name: value for name, value in os.environ.items() if name not in ("CXX", "CC")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=inherited | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    works, why = done.stdout.split("\n")[:2]
    return works, why, done.stderr


def test_no_compiler_is_one_sentence_that_names_it_and_no_traceback(tmp_path):
    works, why, shown = ask(PATH=str(tmp_path), HOME=str(tmp_path))
    assert works == "False"
    assert why.startswith("no kernels for this processor (no C++ compiler (g++, c++, clang++) is on the path)")
    assert why.endswith("; running PyTorch's own operations, more slowly")
    assert "Traceback" not in shown


def test_a_compiler_that_fails_is_one_sentence_and_no_traceback(tmp_path):
    broken = tmp_path / "g++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "g++ (broken) 12.2.0" && exit 0\necho "error: no headers" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    works, why, shown = ask(PATH=str(tmp_path), HOME=str(tmp_path / "home"))
    assert works == "False"
    assert f"{broken} failed: error: no headers" in why
    assert why.endswith("; running PyTorch's own operations, more slowly")
    assert len(why) < 250
    assert "Traceback" not in shown


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_a_compiler_that_works_is_used():
    works, why, _ = ask()
    assert (works, why) == ("True", "")


def test_switched_off_compiles_nothing_and_says_where(monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    works, why = compiler_works(MachineSettings(compile="off"), torch.device("cpu"))
    assert not works
    assert "machine.compile" in why


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("InvalidCxxCompiler: none", "InvalidCxxCompiler: none"),
        ("backend='inductor' raised:\nInvalidCxxCompiler: none\n\nSet X for more", "InvalidCxxCompiler: none"),
        ("\n\n", "RuntimeError"),
        ("raised:", "RuntimeError"),
    ],
)
def test_the_line_of_an_error_that_tells_most(text, line):
    assert telling_line(RuntimeError(text)) == line


def test_heads_too_narrow_for_a_gpus_attention_run_uncompiled_and_say_so():
    """Compiled, the first step would end with an error of torch's."""
    works, why = compiler_works(MachineSettings(), torch.device("cuda"), head_dim=8)
    assert not works
    assert "heads of width 8, under 16 (model.head_dim); running uncompiled" in why
