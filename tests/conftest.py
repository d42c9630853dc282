"""Property tests (the same examples each time, no time limit for one: the machine may be busy), and one finished run."""

from __future__ import annotations

import pytest
from finished_run import FinishedRun, finish_a_run
from hypothesis import settings

settings.register_profile("headwater", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("headwater")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    """One small run from raw text to report, made once for all tests by the two commands a user types."""
    return finish_a_run(tmp_path_factory.mktemp("finished"))
