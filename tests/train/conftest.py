from __future__ import annotations

from pathlib import Path

import pytest
from spiked_run import HARMED, go_on, plant, spiked_plan


@pytest.fixture(scope="module", autouse=True)
def always_on_a_quick_machine():
    """Every test of this folder, and the runs that tests of a file share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.machine.compute.matmul_peaks", lambda device, dtypes: dict.fromkeys(dtypes, 1e11))
        yield


@pytest.fixture(scope="module")
def spiked(tmp_path_factory) -> Path:
    """The folder of a run that went back once and was never stopped; don't change it."""
    folder = tmp_path_factory.mktemp("spiked")
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, HARMED)
        go_on(folder, spiked_plan())
    return folder
