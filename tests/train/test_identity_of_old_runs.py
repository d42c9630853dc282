"""Runs that began before a setting existed resume at the value that they had without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.batches.settings import MixtureSettings
from headwater.errors import CheckpointError
from headwater.train.settings import require_same

HERE = Path("checkpoint")


def before_there_was_a_share():
    return {name: value for name, value in MixtureSettings().model_dump().items() if name != "share_of_text"}


def test_a_run_from_before_there_was_a_share_of_the_text_goes_on():
    require_same(HERE, {"mixture": before_there_was_a_share()}, {"mixture": MixtureSettings().model_dump()})


def test_a_run_from_before_does_not_go_on_with_a_part_of_its_text():
    part = MixtureSettings(share_of_text=0.5).model_dump()
    with pytest.raises(CheckpointError, match=r"share_of_text: was 1\.0, is 0\.5"):
        require_same(HERE, {"mixture": before_there_was_a_share()}, {"mixture": part})


def test_keys_of_what_was_made_of_all_the_text_are_as_before():
    assert MixtureSettings().as_key() == before_there_was_a_share()
    assert MixtureSettings(share_of_text=0.5).as_key() != MixtureSettings().as_key()
