"""Intervals of shares and means, against values known from elsewhere."""

from __future__ import annotations

import pytest

from headwater.core.intervals import bounded_mean, mean_estimate, share


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


def test_a_mean_of_bounded_values_has_an_interval_between_the_bounds():
    for values in ([1.0] * 4, [0.0, 0.0, 0.5], [0.9, 1.0, 1.0]):
        found, plain = bounded_mean(values, 0, 1), mean_estimate(values)
        assert found.value == pytest.approx(plain.value)
        assert 0 <= found.low < found.value or found.value == 0
        assert found.value < found.high <= 1 or found.value == 1
    assert bounded_mean([1.0] * 4, 0, 1).low < bounded_mean([1.0] * 40, 0, 1).low < 1
    gains = bounded_mean([-1.0, 1.0, 1.0, 0.5], -1, 1)
    assert gains.value == pytest.approx(0.375)
    assert -1 < gains.low < gains.value < gains.high < 1


def test_bounded_means_of_many_values_have_the_interval_of_the_normal_distribution():
    values = [0.3, 0.5, 0.45, 0.6, 0.2] * 200
    found, plain = bounded_mean(values, 0, 1), mean_estimate(values)
    assert [found.low, found.high] == pytest.approx([plain.low, plain.high], abs=5e-4)
    coin = bounded_mean([0.0, 1.0] * 50, 0, 1)
    assert [coin.low, coin.high] == pytest.approx([share(50, 100).low, share(50, 100).high], abs=1e-3)
