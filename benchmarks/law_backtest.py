"""How well the forecaster of loss does on published runs beyond those it has seen, and how honest its intervals are.

    python benchmarks/law_backtest.py [--json] [--baseline] [--hindsight]

Each table of benchmarks/data/scaling is cut at every quarter of a decade of compute: runs up to the cut are fitted,
runs up to two decades beyond are forecast. A cut counts when at least 8 runs of 3 sizes and 3 token counts are
fitted; a target counts when it has 1 to 1000 tokens per parameter and lies no further beyond than the fitted runs
span. Every row of the files is used, those that the sources call outliers too.

What a family may not know of itself: its own larger runs; its own law in the prior over exponents; and the
forecaster's constants. Those are one set for all tables (`Departure`, the prior's width, `Discrepancy`), but each
family is scored here with the set, out of CONSTANTS and DISCREPANCIES, that does best on the *other* families. The
last line of the output is the set that does best on all, which is what the package holds. The form of the forecaster
(what it weighs, the covariance, the prior on exponents) was chosen with all families in view.

With --baseline, columns "fit" show the same forecasts read off the usual fit, the law of the least Huber loss. With
--hindsight, columns "all" show that law fitted to all rows of a table, those to be forecast too, and columns "rest"
each row forecast from all others, the larger ones too, and columns "size" each row read off a parabola through the
runs of its own size, for runs that have a shorter and a longer one: no forecasts, but they say how near one can come.

Which loss: chinchilla, llama3 and steplaw as published (steplaw: the smoothed loss of the best run of each size);
gadre: C4 validation loss, which its three training sets have in common; olmo: its four validation losses (C4, Pile,
Dolma, WikiText), each a table, reruns averaged; porian: its five configurations, each a table. Llama 3's loss is
digitised.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from headwater.scaling.fit import fit_law
from headwater.scaling.forecast import Discrepancy, Forecaster
from headwater.scaling.prior import Prior, published_prior

from headwater.scaling.arrays import Z_P95
from headwater.scaling.backtest import Origin, origins
from headwater.scaling.posterior import Departure, FloatArray, Posterior
from headwater.scaling.table import Runs, runs_of

DATA = Path(__file__).parent / "data" / "scaling"
BINS = [(0.0, 0.5, 0.5), (0.5, 1.0, 1.0), (1.0, 2.0, 2.0)]  # decades beyond from, to; target of the median error in %
# heads of the columns beside the forecaster's
BESIDE = {"baseline": "fit", "hindsight": "all", "rest": "rest", "size": "size"}
SAME_SIZE, NEAR = 0.01, 1.0  # natural logs of params; of tokens, a doubling and a half
Row = dict[str, str]


def read(name: str) -> list[Row]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[Row], params: str, tokens: str, loss: str) -> Runs:
    """Return the runs of these columns, reruns of one size averaged."""
    groups: dict[tuple[float, float], list[float]] = defaultdict(list)
    for row in rows:
        groups[float(row[params]), float(row[tokens])].append(float(row[loss]))
    sizes = list(groups)
    return runs_of([n for n, _ in sizes], [d for _, d in sizes], [float(np.mean(groups[size])) for size in sizes])


def tables() -> Iterator[tuple[str, str, Runs]]:
    """Yield (family, table, runs)."""
    chinchilla = read("chinchilla_approach3_svg")
    yield "chinchilla", "massivetext", table(chinchilla, "N", "D_tokens_C_over_6N", "loss")
    isoflop = read("isoflop")
    for experiment in ("llama_3__raw_loss", "comma__llama_2", "dclm__llama_2", "nemotron__llama_2"):
        rows = [row for row in isoflop if row["experiment"].endswith(experiment)]
        yield ("llama3" if "raw" in experiment else "marin"), experiment, table(rows, "params", "tokens", "loss")
    yield from parts("porian", read("porian_isoflop"), "config", ("N", "D_tokens", "loss"))
    gadre = read("gadre_overtraining")
    yield from parts("gadre", gadre, "dataset", ("N", "D", "loss_c4_val_shard_0000000_0000010_tar"))
    for metric in ("c4_loss", "pile_loss", "dolma_cc_loss", "wikitext103_loss"):
        yield "olmo", metric, table(read("olmo_ladder"), "N", "D_tokens_reported", metric)
    yield "steplaw", "dense", table(read("steplaw_dense_best_per_ND"), "N", "D", "smooth loss")


def parts(family: str, rows: list[Row], by: str, columns: tuple[str, str, str]) -> Iterator[tuple[str, str, Runs]]:
    for part in sorted({row[by] for row in rows}):
        yield family, part, table([row for row in rows if row[by] == part], *columns)


@dataclass(frozen=True)
class Constants:
    """What the choice is made from, for the medians of forecasts."""

    departure: Departure
    width: float


CONSTANTS = [
    Constants(Departure(size, reach, same_size=same_size, starved=starved), width)
    for size, reach, same_size, starved, width in product(
        (0.02, 0.03), (2.0, 2.5), (0.004, 0.007), (0.02, 0.03), (0.1, 0.15)
    )
]
DISCREPANCIES = [Discrepancy(*both) for both in product((0.4, 0.5, 0.6, 0.7, 0.8, 1.0), (0.0, 0.005, 0.01, 0.015))]


@dataclass(frozen=True)
class Cut:
    family: str
    table: str
    origin: Origin


Prediction = tuple[Forecaster, FloatArray, FloatArray]  # medians and the posterior's variances of the runs beyond


def predict(cut: Cut, constants: Constants) -> Prediction:
    prior = Prior(published_prior(without=cut.family).centre, constants.width)
    forecaster = Forecaster(cut.origin.fitted, prior, constants.departure)
    return forecaster, *forecaster.posterior.predict(cut.origin.beyond.params, cut.origin.beyond.tokens)


class Scores:
    """Forecasts of every cut by every set of constants, each computed once."""

    def __init__(self) -> None:
        self.cuts = [Cut(family, name, origin) for family, name, runs in tables() for origin in origins(runs)]
        self.families = sorted({cut.family for cut in self.cuts})
        self._misses = {constants: self._miss(constants) for constants in CONSTANTS}
        self._predictions: dict[Constants, list[Prediction]] = {}

    def _miss(self, constants: Constants) -> dict[str, float]:
        """Return, by family, the mean logarithm of median error over its target."""
        found = []
        for cut in self.cuts:
            prior = Prior(published_prior(without=cut.family).centre, constants.width)
            beyond = cut.origin.beyond
            median, _ = Posterior(cut.origin.fitted, prior, constants.departure).predict(beyond.params, beyond.tokens)
            found += [
                {"family": cut.family, "error": error, "decades": decades}
                for error, decades in zip(np.log(median / beyond.loss), cut.origin.decades)
            ]
        return {family: miss([entry for entry in found if entry["family"] == family]) for family in self.families}

    def best_constants(self, families: list[str]) -> Constants:
        return min(CONSTANTS, key=lambda constants: mean(self._misses[constants][family] for family in families))

    def predictions(self, constants: Constants) -> list[Prediction]:
        if constants not in self._predictions:
            self._predictions[constants] = [predict(cut, constants) for cut in self.cuts]
        return self._predictions[constants]

    def best_discrepancy(self, constants: Constants, families: list[str]) -> Discrepancy:
        """Return the one whose coverage is nearest to 90 %, on the average of families and distances."""

        def off(discrepancy: Discrepancy) -> float:
            found = self.entries(constants, discrepancy, families)
            cells = [
                [entry["held"] for entry in found if entry["family"] == family and low < entry["decades"] <= high]
                for family in families
                for low, high, _ in BINS
            ]
            return mean(abs(mean(cell) - 0.9) for cell in cells if cell)

        return min(DISCREPANCIES, key=off)

    def entries(self, constants: Constants, discrepancy: Discrepancy, families: list[str]) -> list[dict[str, Any]]:
        """Return one entry a forecast of these families."""
        found = []
        for cut, (forecaster, medians, variances) in zip(self.cuts, self.predictions(constants)):
            if cut.family not in families:
                continue
            errors, decades = np.log(medians / cut.origin.beyond.loss), cut.origin.decades
            deviations = forecaster.widening_by(discrepancy) * discrepancy.deviation(variances, decades, None)
            held = np.abs(errors) <= Z_P95 * deviations
            found += [
                {"family": cut.family, "table": cut.table, "error": error, "decades": far, "held": inside}
                for error, far, inside in zip(errors.tolist(), decades.tolist(), held.tolist())
            ]
        return found

    def scored(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the forecasts of each family with constants chosen on the others, and the choices."""
        found, choices = [], {}
        for family in self.families:
            others = [other for other in self.families if other != family]
            constants = self.best_constants(others)
            discrepancy = self.best_discrepancy(constants, others)
            choices[family] = chosen(constants, discrepancy)
            found += self.entries(constants, discrepancy, [family])
        constants = self.best_constants(self.families)
        choices["all"] = chosen(constants, self.best_discrepancy(constants, self.families))
        return found, choices


def baseline(cuts: list[Cut]) -> list[dict[str, Any]]:
    """Return one entry a forecast read off the law of the least Huber loss, which knows no constants."""
    found = []
    for cut in cuts:
        beyond = cut.origin.beyond
        errors = np.log(fit_law(cut.origin.fitted).loss(beyond.params, beyond.tokens) / beyond.loss)
        found += entries_of(cut, errors)
    return found


def hindsight(cuts: list[Cut]) -> list[dict[str, Any]]:
    """Return one entry a forecast read off the law of all rows of its table, the rows forecast among them."""
    laws = {(family, name): fit_law(runs) for family, name, runs in tables()}
    found = []
    for cut in cuts:
        beyond = cut.origin.beyond
        errors = np.log(laws[cut.family, cut.table].loss(beyond.params, beyond.tokens) / beyond.loss)
        found += entries_of(cut, errors)
    return found


def from_the_rest(cuts: list[Cut]) -> list[dict[str, Any]]:
    """Return one entry a forecast of the package's forecaster from all other rows of the table, larger ones too."""
    errors: dict[tuple[str, str, float, float], float] = {}
    wanted = {(cut.family, cut.table) for cut in cuts}
    for family, name, runs in tables():
        prior = published_prior(without=family)
        for place in range(len(runs) if (family, name) in wanted else 0):
            one = np.arange(len(runs)) == place
            target = runs.where(one)
            median, _ = Posterior(runs.where(~one), prior).predict(target.params, target.tokens)
            errors[family, name, float(target.params[0]), float(target.tokens[0])] = float(
                np.log(median[0] / target.loss[0])
            )
    found = []
    for cut in cuts:
        sizes = zip(cut.origin.beyond.params.tolist(), cut.origin.beyond.tokens.tolist())
        found += entries_of(cut, np.array([errors[cut.family, cut.table, *size] for size in sizes]))
    return found


def from_own_size(cuts: list[Cut]) -> list[dict[str, Any]]:
    """Return one entry a forecast of which four other runs or more have the size, on either side of its tokens."""
    of = {(family, name): runs for family, name, runs in tables()}
    found = []
    for cut in cuts:
        runs, beyond = of[cut.family, cut.table], cut.origin.beyond
        for place in range(len(beyond)):
            apart = np.log(runs.tokens / beyond.tokens[place])
            others = (np.abs(np.log(runs.params / beyond.params[place])) < SAME_SIZE) & (apart != 0)
            if others.sum() < 4 or apart[others].min() > 0 or apart[others].max() < 0:
                continue
            near = np.exp(-0.25 * (apart[others] / NEAR) ** 2)  # polyfit squares it
            here = np.polyfit(apart[others], np.log(runs.loss[others]), 2, w=near)[-1]
            error, far = here - np.log(beyond.loss[place]), cut.origin.decades[place]
            found.append({"family": cut.family, "error": float(error), "decades": float(far)})
    return found


def entries_of(cut: Cut, errors: FloatArray) -> list[dict[str, Any]]:
    return [
        {"family": cut.family, "error": error, "decades": far}
        for error, far in zip(errors.tolist(), cut.origin.decades.tolist())
    ]


def add_medians_(lines: list[dict[str, Any]], found: list[dict[str, Any]], name: str) -> None:
    """Add medians of |error| in %, and how many of these forecasts in 100 are too high, to each line."""
    for line in lines:
        mine = [entry for entry in found if line["family"] in (entry["family"], "all")]
        for low, high, _ in BINS:
            line[f"{name}_{high:g}"] = median_error([entry for entry in mine if low < entry["decades"] <= high])
        line[f"{name}_too_high"] = round(100 * mean(entry["error"] > 0 for entry in mine), 1) if mine else None


def chosen(constants: Constants, discrepancy: Discrepancy) -> dict[str, Any]:
    return asdict(constants.departure) | {"width": constants.width} | asdict(discrepancy)


def miss(entries: list[dict[str, Any]]) -> float:
    """Return the mean over bins of log(median error / target)."""
    logs = []
    for low, high, target in BINS:
        here = [abs(entry["error"]) for entry in entries if low < entry["decades"] <= high]
        if here:
            logs.append(float(np.log(100 * np.median(here) / target)))
    return mean(logs)


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line a family and one for all: medians of |error| in % by decades beyond, and coverage in %."""
    lines = []
    for family in [*sorted({entry["family"] for entry in found}), "all"]:
        chosen = [entry for entry in found if family in (entry["family"], "all")]
        line: dict[str, Any] = {"family": family, "num_forecasts": len(chosen), "coverage": percent(chosen, "held")}
        for low, high, target in BINS:
            here = [entry for entry in chosen if low < entry["decades"] <= high]
            line[f"median_{high:g}"] = median_error(here)
            line[f"upto_{high:g}"] = median_error([entry for entry in chosen if entry["decades"] <= high])
            line[f"coverage_{high:g}"] = percent(here, "held")
            line[f"num_{high:g}"], line[f"target_{high:g}"] = len(here), target
        lines.append(line)
    return lines


def median_error(entries: list[dict[str, Any]]) -> float | None:
    return round(100 * float(np.median([abs(entry["error"]) for entry in entries])), 3) if entries else None


def percent(entries: list[dict[str, Any]], name: str) -> float | None:
    return round(100 * sum(entry[name] for entry in entries) / len(entries), 1) if entries else None


def show(lines: list[dict[str, Any]]) -> None:
    print(
        "Median error of forecast loss, %, by decades of compute beyond the largest fitted run (* misses its target),"
    )
    print("and how many in 100 of the 90 % intervals held the loss. 'up to' counts all nearer targets too.\n")
    others = {name: head for name, head in BESIDE.items() if all(f"{name}_too_high" in line for line in lines)}
    head = "".join(f"{f'{low:g}-{high:g}':>9} {'up to':>7} {'held':>5}" for low, high, _ in BINS)
    head += "".join(f"{f'{short} {low:g}-{high:g}':>12}" for short in others.values() for low, high, _ in BINS)
    print(f"{'family':<12}{'forecasts':>9} {'held':>6}   {head}")
    for line in lines:
        cells = []
        for _, high, target in BINS:
            value, upto, held = (line[f"{name}_{high:g}"] for name in ("median", "upto", "coverage"))
            mark = "*" if value is not None and value > target else " "
            cells.append(f"{'-' if value is None else f'{value:.2f}'}{mark}".rjust(10))
            cells.append(f"{'-' if upto is None else f'{upto:.2f}'}".rjust(7))
            cells.append(f"{'-' if held is None else f'{held:.0f}'}".rjust(6))
        for name in others:
            fitted = [line[f"{name}_{high:g}"] for _, high, _ in BINS]
            cells += [f"{'-' if value is None else f'{value:.2f}'}".rjust(12) for value in fitted]
        print(f"{line['family']:<12}{line['num_forecasts']:>9} {line['coverage']:>6.1f}  {''.join(cells)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Back-test the forecaster of loss on published runs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--baseline", action="store_true", help="add the errors of the usual fit over the same cuts")
    parser.add_argument("--hindsight", action="store_true", help="add the errors of laws that saw larger runs, too")
    arguments = parser.parse_args()
    scores = Scores()
    found, choices = scores.scored()
    lines = summary(found)
    if arguments.baseline:
        add_medians_(lines, baseline(scores.cuts), "baseline")
    if arguments.hindsight:
        add_medians_(lines, hindsight(scores.cuts), "hindsight")
        add_medians_(lines, from_the_rest(scores.cuts), "rest")
        add_medians_(lines, from_own_size(scores.cuts), "size")
    if arguments.json:
        print(json.dumps({"families": lines, "constants": choices}))
        return
    show(lines)
    print("\nconstants chosen on the other families:")
    for family, values in choices.items():
        print(f"  {family:<11}", "  ".join(f"{name} {value:g}" for name, value in values.items()))


if __name__ == "__main__":
    main()
