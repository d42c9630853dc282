"""Intervals of shares and means, against values known from elsewhere."""

from __future__ import annotations

import pytest

from headwater.intervals import mean_estimate, share


def test_wilsons_interval_has_the_published_values():
    """Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3."""
    for num_true, num, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = share(num_true, num)
        assert (found.value, found.num) == (num_true / num, num)
        assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)
    found = share(29, 29)
    assert [found.low, found.high] == pytest.approx([0.8830, 1.0], abs=5e-5)


def test_a_share_of_nothing_is_refused():
    for num_true, num in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is no share"):
            share(num_true, num)
    with pytest.raises(ValueError, match="no values"):
        mean_estimate([])


def test_a_mean_has_the_standard_error_on_either_side():
    found = mean_estimate([0.0, 1.0, 1.0, 2.0])
    half = 1.959964 * (2 / 3 / 4) ** 0.5
    assert [found.value, found.low, found.high] == pytest.approx([1, 1 - half, 1 + half])
    assert mean_estimate([3.0]).low == mean_estimate([3.0]).high == 3.0
