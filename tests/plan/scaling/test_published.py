"""The published law: its level beside losses of runs it hasn't seen, and where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.core.intervals import Z_P90
from headwater.model.count import ParameterCount
from headwater.plan.scaling.published import PublishedLaw


def of_size(params: float) -> ParameterCount:
    return ParameterCount(total=int(params), embedding=0, matmul=int(params))


@pytest.mark.parametrize(
    ("params", "tokens", "loss"),
    [
        # of Chinchilla: arXiv:2404.10102's law at 73.2 billion and 1.31 trillion gives 1.974
        (73.2e9, 1.31e12, 1.974),
        # 2.8 billion on 55 billion tokens of C4 (arXiv:2305.16264)
        (2.8e9, 55e9, 2.576),
        # OLMo's 190M on 3.8 billion tokens, C4 and the Pile
        (190354176, 3812622336, 3.600),
        (190354176, 3812622336, 3.005),
        # Step Law's 215M on 11.4 billion
        (214663680, 11.4e9, 2.4847),
    ],
)
def test_losses_of_other_texts_lie_in_its_band(params, tokens, loss):
    size = of_size(params)
    middle, deviation = PublishedLaw().expected(size, tokens)
    assert middle == pytest.approx(math.exp(PublishedLaw().log_loss(size, np.array(tokens))))
    assert abs(math.log(loss / middle)) <= Z_P90 * deviation


@pytest.mark.parametrize(("params", "tokens"), [(4e6, 4e6), (3e6, 3e8), (1e7, 1e9), (1e7, 6e9)])
def test_far_below_its_rows_there_is_no_level(params, tokens):
    """A budget of a laptop's hours showed 5.9 to 6.6 nats by a law of another recipe."""
    assert PublishedLaw().expected(of_size(params), tokens) is None
    assert f"from 4e+17 to 1e+26 FLOPs, and {6 * params * tokens:.2g} lie" in PublishedLaw().how(
        of_size(params), tokens
    )
    assert PublishedLaw().expected(of_size(1e8), 1e9) is not None
