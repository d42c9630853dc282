from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# training_state.py beside this file
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """A flush matters to a power cut alone (tests/test_files.py checks their order); thousands are slow on a busy disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
