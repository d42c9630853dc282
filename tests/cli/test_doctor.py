from __future__ import annotations

import tomllib
from pathlib import Path

from headwater.cli.doctor import print_findings
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


def test_an_extra_is_installed_where_all_its_packages_are():
    listed = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["corpus"]
    assert {each.split(">=")[0].replace("-", "_") for each in listed} == set(EXTRAS["corpus"])
