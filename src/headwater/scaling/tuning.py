"""What a learning rate or a batch beside the best one costs, from the grids of Step Law (arXiv:2503.04715).

Over their 17 cells of about 110 runs each, loss rises with the square of the number of doublings from the cell's best
run: 0.51 % for a doubling of the learning rate (quartiles 0.35 and 0.72) and 0.39 % for one of the batch (0.36 and
0.44), up to a factor of four. Their rule for the best pair lies within 0.1 % of it in the middle cell and 0.3 % in
the worst.
"""

from __future__ import annotations

import math

from headwater.errors import ConfigError

LR_PER_SQUARED_DOUBLING = 0.0051
BATCH_PER_SQUARED_DOUBLING = 0.0039
MAX_FACTOR = 4.0


def regret(lr_factor: float = 1.0, batch_factor: float = 1.0) -> float:
    """Return the relative rise of loss at these multiples of the best lr and batch; raise ConfigError beyond 4."""
    for name, factor in (("learning rate", lr_factor), ("batch", batch_factor)):
        if not 1 / MAX_FACTOR <= factor <= MAX_FACTOR:
            raise ConfigError(
                f"a {name} {factor:g} times the best is outside what was measured (a quarter to four times); "
                "choose one nearer to the rule"
            )
    by_lr = LR_PER_SQUARED_DOUBLING * math.log2(lr_factor) ** 2
    return by_lr + BATCH_PER_SQUARED_DOUBLING * math.log2(batch_factor) ** 2
