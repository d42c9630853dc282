"""Archives made by hand, in the folder `archives`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from made_packages import write_deb, write_wheel

Archive = Callable[..., Path]


@pytest.fixture
def make_deb(tmp_path: Path) -> Archive:
    """Return a function that writes archives/NAME_VERSION_all.deb with these files and returns its path."""
    return partial(write_deb, tmp_path / "archives")


@pytest.fixture
def make_wheel(tmp_path: Path) -> Archive:
    """Return a function that writes archives/NAME-VERSION-py3-none-any.whl and returns its path."""
    return partial(write_wheel, tmp_path / "archives")
