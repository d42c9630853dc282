"""Which small runs are chosen: held against trying every choice, and against what a ladder must keep to."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest
from golden_rows import rows

from headwater.core.errors import ConfigError
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.plan.rungs import Rung, choose_rungs, scaled_shapes
from headwater.plan.scaling.surface import Surface

BATCH = 4096
MODEL = ModelSettings(
    vocab_size=4096, num_layers=6, d_model=384, d_ff=1024, num_heads=6, num_kv_heads=6, head_dim=64, seq_len=256
)


def rung(model: ModelSettings, num_steps: int) -> Rung:
    flops = flops_per_token(model) * num_steps * BATCH
    return Rung(model, num_steps, tokens=num_steps * BATCH, flops=flops, seconds=3 + flops / 1e12)


TARGET = rung(MODEL, 2000)
CANDIDATES = [rung(model, steps) for model in scaled_shapes(MODEL) for steps in (100, 200, 400, 800, 1600)]


def variance(rungs: list[Rung]) -> float:
    runs = [*rungs, TARGET]
    return Surface([run.size for run in runs], [run.tokens for run in runs]).variance(range(len(rungs)))


def choose(seconds: float, candidates: list[Rung] = CANDIDATES) -> list[Rung]:
    return choose_rungs(candidates, TARGET, [seconds / TARGET.seconds])


def test_no_choice_of_six_is_much_better():
    some = [rung for rung in CANDIDATES if 4 <= TARGET.flops / rung.flops <= 40][::2][:12]
    budget = sum(sorted(rung.seconds for rung in some)[:9]) * 0.8
    chosen = choose(budget, some)
    affordable = [six for six in combinations(some, 6) if sum(rung.seconds for rung in six) <= budget]
    within = [six for six in affordable if any(rung.shape == TARGET.shape for rung in six)]
    assert len(within) > 20
    assert any(rung.shape == TARGET.shape for rung in chosen)
    assert variance(chosen) <= 1.05 * min(variance(list(six)) for six in within)


@pytest.mark.parametrize("changes", rows("smaller_models_are_models"))
def test_smaller_models_are_models(changes):
    model = ModelSettings.model_validate(MODEL.model_dump() | changes)
    shapes = scaled_shapes(model)
    assert shapes[0] == model
    assert len({count_parameters(shape).total for shape in shapes}) >= 3
    for shape in shapes:
        ModelSettings.model_validate(shape.model_dump())  # head counts divide, gpt2's heads fill its width
        assert count_parameters(shape).total <= count_parameters(model).total
        assert shape.num_heads // shape.num_kv_heads == model.num_heads // model.num_kv_heads


@pytest.mark.parametrize("budget", [1.0, 20.0, 60.0])
def test_the_share_that_is_advised_is_enough(budget):
    # the cheapest six are all of one size, which carry no law
    cheap = [replace(CANDIDATES[0], num_steps=60 + step, seconds=1.0) for step in range(8)]
    cheap = [replace(rung, flops=TARGET.flops / 30) for rung in cheap]
    others = [rung for rung in CANDIDATES if rung.seconds > budget / 6]
    with pytest.raises(ConfigError) as error:
        choose_rungs([*cheap, *others], TARGET, [min(budget, 5.0) / TARGET.seconds])
    advised = re.search(r"--share ([\d.]+)", str(error.value))
    assert advised is not None, str(error.value)
    assert len(choose_rungs([*cheap, *others], TARGET, [float(advised[1])])) == 6


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (TARGET, "train the run itself, or give --share"),
        (replace(TARGET, flops=TARGET.flops / 1000), "and 0 of them can be made; .* raise train.num_steps=2000 or"),
    ],
)
def test_what_no_ladder_fits_in(target, says):
    with pytest.raises(ConfigError, match=says):
        choose_rungs(CANDIDATES, target, [1.0 / target.seconds])
