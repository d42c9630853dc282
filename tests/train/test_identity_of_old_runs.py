"""A setting that is off is in no key of what was made without it."""

from __future__ import annotations

from headwater.tokens.batches.settings import MixtureSettings


def before_there_was_a_share():
    return {name: value for name, value in MixtureSettings().model_dump().items() if name != "share_of_text"}


def test_keys_of_what_was_made_of_all_the_text_are_as_before():
    assert MixtureSettings().as_key() == before_there_was_a_share()
    assert MixtureSettings(share_of_text=0.5).as_key() != MixtureSettings().as_key()
