"""Axes by what they label: plotly's own choice of ticks was one alone in small charts of little more than a decade."""

from __future__ import annotations

import pytest

from headwater.page.charts.of_run import probe_chart


@pytest.mark.parametrize(("last", "kind"), [(90_000, "linear"), (200_000, "linear"), (2_000_000, "log")])
def test_a_small_chart_has_a_logarithmic_axis_from_two_powers_of_ten_on(last, kind):
    chart = probe_chart("sums", [(30_000, 0.1), (last, 0.4)], {"right": 0.4}, "series-1")
    assert chart is not None and chart.layout["xaxis"]["type"] == kind
