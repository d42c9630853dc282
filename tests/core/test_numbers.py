"""Values as people read them."""

from __future__ import annotations

import pytest

from headwater.core.numbers import setting


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0207612345, "0.02076"), (None, "off"), ("mine", "mine"), (123456.789, "123456.789"), (True, "true"), (3, "3")],
)
def test_a_setting_is_shown_with_as_many_digits_as_a_person_reads(value, shown):
    assert setting(value) == shown
