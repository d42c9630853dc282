"""Tables of runs, what they can't carry, and surfaces of small runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from known_laws import TRUE, isoflop_runs, ladder_runs

from headwater.core.errors import DataError
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.checks import forecast_refusal, forecast_warnings, no_law, table_warnings
from headwater.plan.scaling.surface import NOISE, PRIOR, Surface
from headwater.plan.scaling.table import Runs, read_runs

GOOD = [f"{1e6 * 2**i:g},{2e7 * 3**i:g},{4 - 0.1 * i:.2f}" for i in range(8)]
HEAD = "params,tokens,loss"


def written(tmp_path, lines, head=HEAD):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_columns_may_stand_anywhere_among_others_with_a_mark_at_the_start(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"x,7,{line.split(',')[2]},{line.split(',')[1]},{line.split(',')[0]}" for line in GOOD]
    path.write_text("\n".join(["name,n, Loss ,tokens,Params", *rows]), encoding="utf-8-sig")
    assert read_runs(path).params.tolist() == [1e6 * 2**i for i in range(8)], "n is another name for them"


CELLS = {
    "": "is needed and blank; fill it in, or remove the line", "abc": "='abc' is not a number; write it like 124e6",
    "-3": "must be a positive number; correct it, or remove the line", "0": "must be a positive number",
    "nan": "must be a positive number", "inf": "must be a positive number", "1e30": "not between",
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
def test_a_bad_cell_is_named(tmp_path, column, cell):
    cells = GOOD[2].split(",")
    cells[["params", "tokens", "loss"].index(column)] = cell
    with pytest.raises(DataError, match=f"line 4: {column}") as caught:
        read_runs(written(tmp_path, [*GOOD[:2], ",".join(cells), *GOOD[3:]]))
    assert CELLS[cell] in str(caught.value)


NAMED, QUOTED = [f"{line},a run" for line in GOOD], f'{GOOD[2]},"a run'
REFUSED = [  # the first line, the others, what is said
    *((HEAD, [*GOOD[:2], "", f"{GOOD[2]},{extra}", *GOOD[3:]], f"line 5: {count} cells and 3 columns, '{first}' is the first too many")
      for extra, count, first in [("3.9", 4, "3.9"), ("", 4, ""), ("1,2", 5, "1")]),
    (HEAD, [",,,3.9", *GOOD], "line 2: 4 cells and 3 columns"),
    (HEAD, ["124,2e9,3.1", *GOOD], "not millions"),
    (HEAD, ["1e8,2e9,35", *GOOD], "not a perplexity"),
    (HEAD, GOOD[:3], "holds 3 different runs.*at least 6"),
    *((head, GOOD, "has no column .*the first line must name") for head in ("params,tokens", "X,D,loss", "")),
    # a later quote closes it, and the rows between were gone without a word
    *((f"{HEAD},name", lines, "line 4 is no line of a CSV table")
      for lines in ([*NAMED[:2], QUOTED, *NAMED[3:]], [*NAMED[:2], QUOTED, *NAMED[3:6], f'{NAMED[6]}"', *NAMED[7:]])),
]  # fmt: skip


@pytest.mark.parametrize(("head", "lines", "says"), REFUSED)
def test_a_table_that_says_something_else_than_runs_is_refused(tmp_path, head, lines, says):
    with pytest.raises(DataError, match=f"runs.csv.* {says}"):
        read_runs(written(tmp_path, lines, head))


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    said = {"empty.csv": "empty file", "": "is a folder", "no": "doesn't exist", "bytes.csv": "not a CSV file in UTF-8"}
    for name, says in said.items():
        with pytest.raises(DataError, match=says):
            read_runs(tmp_path / name)


def test_reruns_become_their_mean_and_their_spread_and_blank_rows_are_left_out(tmp_path):
    runs = read_runs(written(tmp_path, [",,,,", *GOOD, "1e6,2e7,4.02"]))
    assert len(runs) == 8
    assert runs.loss[0] == pytest.approx(4.01)
    assert runs.run_noise == pytest.approx(math.log(4.02 / 4.00) / math.sqrt(2))


def test_rows_say_how_often_their_text_was_read(tmp_path):
    """The same sizes on other text are no reruns."""
    once, other = [f"{line},1" for line in GOOD], f"{GOOD[0].rpartition(',')[0]},5,4"
    runs = read_runs(written(tmp_path, [*once, "3e6,4e8,3.7,4", other], f"{HEAD},epochs"))
    assert len(runs) == len(GOOD) + 2 and (runs.tokens[-2], runs.unique[-2]) == (4e8, 1e8)
    assert (runs.unique[:-2] == runs.tokens[:-2]).all()
    assert runs.where(runs.loss > 0).unique[-2] == 1e8
    assert read_runs(written(tmp_path, [f"{line},0.5" for line in GOOD], f"{HEAD},epochs")).unique is None


PARAMS = np.array([3e5, 3e5, 6e5, 6e5, 1.2e6, 2.4e6, 2.4e6])  # the last is the target
TOKENS = np.array([5e5, 2e6, 4e5, 1e6, 8e5, 4e5, 3e6])


def terms(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    n, d = np.log(params / params[-1]), np.log(tokens / tokens[-1])
    return np.stack([n**0, n, d, n * d, d**2, n**2], axis=1)


def test_it_is_bayesian_regression_on_the_terms():
    likeliest = terms(PARAMS, TOKENS)[:-1] @ [0.2, *(mean for mean, _ in PRIOR[:5])]
    loss = np.exp(likeliest + 0.002 * np.array([1, -1, 1, 1, -1, -1]))
    x, y = terms(PARAMS, TOKENS), np.log(loss)
    mean, deviation = (np.array([start, *column[:5]]) for start, column in zip((0.0, 1e3), zip(*PRIOR, strict=True)))
    precision = x[:-1].T @ x[:-1] / NOISE**2 + np.diag(deviation**-2.0)
    weights = np.linalg.solve(precision, x[:-1].T @ y / NOISE**2 + mean / deviation**2)
    median, spread = Surface(PARAMS, TOKENS).forecast(loss)
    assert median == pytest.approx(np.exp(weights[0]), rel=1e-4)
    assert spread**2 == pytest.approx(np.linalg.inv(precision)[0, 0] + NOISE**2, rel=1e-3)


def test_of_losses_drawn_from_the_priors_eight_in_ten_or_a_few_more_lie_in_the_interval():
    chance, surface, off = np.random.default_rng(0), Surface(PARAMS, TOKENS), []
    mean, deviation = np.array(PRIOR[:5]).T
    for _ in range(2000):
        logs = terms(PARAMS, TOKENS) @ [chance.normal(0, 1), *chance.normal(mean, deviation)]
        losses = np.exp(logs + chance.normal(0, NOISE, len(logs)))
        median, spread = surface.forecast(losses[:-1])
        off.append(np.log(losses[-1] / median) / spread)
    assert 0.8 < np.mean(np.abs(off) < 1.2816) < 0.86
    assert np.mean(off) == pytest.approx(0.0, abs=0.06)


def test_losses_that_the_priors_do_not_allow_make_the_forecast_less_sure():
    surface = Surface(PARAMS, TOKENS)
    likeliest = terms(PARAMS, TOKENS)[:-1] @ [0.2, *(mean for mean, _ in PRIOR[:5])]
    off = np.array([0.0, 0.1, -0.1, 0.0, 0.1, -0.1])
    assert surface.forecast(np.exp(likeliest))[1] ** 2 == pytest.approx(surface.variance(range(6)))
    assert surface.forecast(np.exp(likeliest + off))[1] > 3 * surface.forecast(np.exp(likeliest))[1]


def said(runs: Runs) -> dict[str, str]:
    law = ScalingLaw(runs)
    return {warning.code: warning.says for warning in table_warnings(law.posterior, law.exponents)}


def codes(runs: Runs) -> set[str]:
    return set(said(runs))


def test_a_good_design_gets_no_warning_and_its_optimum_is_right():
    runs = isoflop_runs(noise=0.001)
    assert codes(runs) == set()
    found = ScalingLaw(runs).optimum(1e20)
    assert found.params == pytest.approx(TRUE.optimal_params(1e20), rel=0.03)
    assert found.params_p10 < found.params < found.params_p90
    assert found.params * found.tokens * 6 == pytest.approx(1e20)
    assert found.loss == pytest.approx(TRUE.loss(found.params, found.tokens), rel=0.005)


def test_far_targets_are_warned_of_and_further_ones_refused():
    runs = isoflop_runs(budgets=3)  # one decade, and 1e19 the largest
    assert forecast_warnings(runs, 1e9, 1e10) == []
    assert forecast_refusal(runs, 1e9, 1e10) is None
    assert [warning.code for warning in forecast_warnings(runs, 1e10, 1e11)] == ["far"]
    assert "decades of compute beyond" in forecast_refusal(runs, 1e11, 2e12)


@pytest.mark.parametrize(
    ("params", "tokens", "says"),
    [
        (1e11, 2e8, "3.0 decades above all rows in params and the rows span 1.0: add runs with more params"),
        (1e4, 2e9, "3.0 decades below all rows in params and the rows span 1.0: add runs with fewer params"),
        (1e7, 1e15, "5.1 decades above all rows in tokens and the rows span 2.2: add runs with more tokens"),
        (1e8, 1e3, "4.7 decades below all rows in tokens and the rows span 2.2: add runs with fewer tokens"),
    ],
)
def test_a_size_far_outside_the_rows_is_refused_whatever_its_compute(params, tokens, says):
    runs = ladder_runs([1e7, 3e7, 1e8], [5.0, 20.0, 80.0])
    assert says in forecast_refusal(runs, params, tokens)


GRID = ladder_runs([1e7, 3e7, 1e8, 3e8], [5.0, 20.0, 80.0])


def with_loss(loss: object) -> Runs:
    return replace(GRID, loss=np.broadcast_to(np.asarray(loss, dtype=np.float64), GRID.loss.shape).copy())


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (2.5, "the losses only go from 2.5 to 2.5, and"),
        (2.5 + 1e-4 * np.arange(12), "the losses only go from 2.5 to 2.5011"),
        (2 + 0.05 * np.log(GRID.flops / 1e15), "the larger run has the higher loss"),
        (1 / GRID.loss, "the larger run has the higher loss"),
    ],
)
def test_losses_that_stay_or_rise_are_refused(loss, says):
    runs = with_loss(loss)
    assert says in no_law(runs)
    assert says in forecast_refusal(runs, 1e9, 2e10)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(2))
def test_a_law_with_noise_is_a_law(noise, seed):
    assert no_law(isoflop_runs(noise=noise, seed=seed)) is None
    assert no_law(isoflop_runs(noise=noise, budgets=2, sizes=4, seed=seed)) is None
