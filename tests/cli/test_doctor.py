from __future__ import annotations

import re
import tomllib
from pathlib import Path

from headwater.cli.training import print_findings
from headwater.runs.library.machine import EXTRAS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


FINDINGS = {
    "device": "a processor",
    "gpu": None,
    "cores": 2,
    "memory_bytes": 8e9,
    "free_disk_bytes": 1e10,
    "torch": "2",
}
FINDINGS |= {"compiles": True, "dtype": "float32", "dtype_why": "set by machine.dtype", "peak_flops_per_second": 6e10}
FINDINGS |= {"memory_bytes_per_second": 2e10, "extras": {}}


def test_the_format_has_its_reason_and_load_is_named(capsys):
    print_findings(FINDINGS | {"load": "Other processes use 1.8 of the 2 CPUs"})
    said = capsys.readouterr().out
    assert "float32, set by machine.dtype" in said and "60 GFLOP/s in it" in said
    assert "Other processes use 1.8 of the 2 CPUs: peak and bandwidth are too low" in said


def test_every_extra_that_a_user_may_want_is_asked_for_with_all_its_packages():
    listed = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    packages = {name: {re.split(r"[\[>=]", each)[0] for each in found} for name, found in listed.items()}
    of_developers = {"bench", "dev"}
    assert {name: set(found) for name, found in EXTRAS.items()} == {
        name: found for name, found in packages.items() if name not in of_developers
    }


def test_what_an_extra_lacks_is_named_with_how_to_install_it(capsys):
    print_findings(FINDINGS | {"load": None, "extras": {"hf": [], "trackers": ["tensorboard", "wandb"]}})
    said = capsys.readouterr().out
    assert "hf: installed" in said
    assert "trackers: tensorboard, wandb missing; pip install 'headwater[trackers]'" in said
