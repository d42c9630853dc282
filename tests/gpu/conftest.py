"""Tests of what runs on a GPU alone; where there is none each is skipped and says so."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU here (torch.cuda.is_available() is False)")
    return torch.device("cuda")


@pytest.fixture
def forbid_waits():
    """Return a function after which every operation that lets the host wait for the GPU is an error."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")
