from __future__ import annotations

import tomllib
from pathlib import Path

from headwater.cli.doctor import EXTRAS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_an_extra_is_installed_where_all_its_packages_are():
    listed = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["corpus"]
    assert {each.split(">=")[0].replace("-", "_") for each in listed} == set(EXTRAS["corpus"])
