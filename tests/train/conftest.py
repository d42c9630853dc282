from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def always_on_a_quick_machine(quick_machine):
    """Every test of this folder."""
