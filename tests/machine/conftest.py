from __future__ import annotations

import pytest

from headwater.machine.machine import threads


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield
