"""How good a forecast was, once its fact is known. No torch."""

from __future__ import annotations

import math

from headwater.scaling.arrays import Z_P90

FORECAST_FORMAT = "headwater-forecast"
"The format of RUN/forecast.json, which is written by one package and read by another."
NOMINAL = 0.8
"The share of facts that bands from P10 to P90 should hold."


def crps(fact: float, p10: float, p50: float, p90: float) -> float:
    """Return the continuous ranked probability score of the logarithm of a fact, all four above zero; 0 is perfect.

    The forecast is read as a log-normal with its median at `p50` and as wide as `p10` to `p90`. The score is proper: no
    band does better, on average, than the one that is believed. In the logarithm it is relative to the quantity: a
    forecast without a band that is off by 5 % scores 0.05. Formula: Gneiting and Raftery, JASA 102 (2007), eq. 21.
    """
    off = math.log(fact / p50)
    deviation = math.log(p90 / p10) / (2 * Z_P90)
    if deviation <= 0:
        return abs(off)
    z = off / deviation
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def binomial_interval(num_right: int, num_tried: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share; (0, 1) where nothing was tried."""
    from scipy.special import betaincinv

    tail, num_wrong = (1 - confidence) / 2, num_tried - num_right
    low = float(betaincinv(num_right, num_wrong + 1, tail)) if num_right else 0.0
    high = float(betaincinv(num_right + 1, num_wrong, 1 - tail)) if num_wrong else 1.0
    return low, high
