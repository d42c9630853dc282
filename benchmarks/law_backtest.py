"""How well the scaling law does on published runs beyond those it has seen, beside simple baselines.

    python benchmarks/law_backtest.py [--json]

Each table of benchmarks/data/scaling is cut at every quarter of a decade of compute: runs up to the cut are fitted,
runs up to two decades beyond are forecast. A cut counts when at least 8 runs of 3 sizes and 3 token counts are
fitted; a target counts when it has 1 to 1000 tokens per parameter and lies no further beyond than the fitted runs
span. Every row of the files is used, those that the sources call outliers too. "sizes" are cuts of another kind: all
rows of the smallest sizes are fitted, and larger models forecast (OLMo's shape); "ladders" are six rows of a fortieth
to a quarter of a target's compute, drawn at random; "far" are targets with a warning, beyond cuts as the first.

What a family may not know of itself: its own larger runs; its own law in the prior over exponents; and the constants.
Those are one set for all tables (`Departure`, the prior's width, `Discrepancy`), but each family is scored here with
the set, out of CONSTANTS and DISCREPANCIES, that does best on the *other* families. The package holds those of "all",
but 0.7 of the share, which is the wider.
The form of the law (what it weighs, the covariance, the prior on exponents) was chosen with all families in view.

Baselines: "fit" is the law of the least Huber loss on the same rows, "last" the loss of the largest fitted run. "held"
is how many in 100 of the 80 % intervals held the loss, "warned" those of targets with a warning, whose intervals are
WARNED_WIDENING times as wide. At the end each family has the least factor that holds 85 of 100 of every other family in
every kind of cut, and what that factor holds of its own: the package's is the least for all, rounded up.
"moved": how often in 100 the median without one of the five largest rows (or the largest) leaves the 90 % interval.

Kept back: gemstones (arXiv:2502.06857), 20 models of 48M to 2B parameters cooled down after 11 to 110 billion tokens,
few sizes with long runs as OLMo's. First scored on 2026-11-30, by the package's constants, which know nothing of it.

Which loss: chinchilla, llama3 and steplaw as published (steplaw: the smoothed loss of the best run of each size);
gadre: C4 validation loss; gemstones: the end of each cool-down; olmo: its four validation losses, each a table, reruns
averaged; porian: its five configurations, each a table. Llama 3's loss is digitised.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist, mean
from typing import Any

import numpy as np

from headwater.core.intervals import Z_P90
from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.checks import forecast_refusal, forecast_warnings
from headwater.plan.scaling.estimator import WARNED_WIDENING, Discrepancy
from headwater.plan.scaling.law import Departure, Posterior, Prior
from headwater.plan.scaling.table import (
    GREATEST_RATIO,
    LEAST_RATIO,
    MIN_FITTED,
    MIN_RUNS,
    Runs,
    TableCut,
    num_distinct,
    origins,
    thresholds,
)

DATA = Path(__file__).parent / "data" / "scaling"
BINS = [(0.0, 0.5, 0.5), (0.5, 1.0, 1.0), (1.0, 2.0, 2.0)]  # decades beyond from, to; target of the median error in %
LADDERS_PER_TABLE, LADDER_RATIOS = 40, (4.0, 40.0)
FAR_PER_CUT, LEAST_FORECASTS = 40, 10
Row = dict[str, str]
Table = tuple[str, str, Runs]  # its family and name


def read(name: str) -> list[Row]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def runs_of(params: Any, tokens: Any, loss: Any) -> Runs:
    """Return runs of plain sequences of numbers."""
    params, tokens, loss = (np.asarray(values, dtype=np.float64) for values in (params, tokens, loss))
    return Runs(params, tokens, loss)


def table(rows: list[Row], params: str, tokens: str, loss: str) -> Runs:
    """Return the runs of these columns, reruns of one size averaged."""
    groups: dict[tuple[float, float], list[float]] = defaultdict(list)
    for row in rows:
        groups[float(row[params]), float(row[tokens])].append(float(row[loss]))
    sizes = list(groups)
    return runs_of([n for n, _ in sizes], [d for _, d in sizes], [float(np.mean(groups[size])) for size in sizes])


def tables() -> Iterator[Table]:
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


def kept_back() -> Iterator[Table]:
    yield "gemstones", "cooled", table(read("gemstones_cooled"), "N", "D_tokens", "loss")


def parts(family: str, rows: list[Row], by: str, columns: tuple[str, str, str]) -> Iterator[Table]:
    for part in sorted({row[by] for row in rows}):
        yield family, part, table([row for row in rows if row[by] == part], *columns)


def published_prior(without: str | None = None) -> Prior:
    """Return the prior of the published laws, each family counted once; `without` leaves one out to be scored on it."""
    by_family: dict[str, list[float]] = defaultdict(list)
    for law in json.loads((DATA / "published_laws.json").read_text(encoding="utf-8")):
        by_family[law["family"]].append(math.log(law["alpha"] * law["beta"]) / 2)
    return Prior(math.exp(mean(mean(values) for family, values in by_family.items() if family != without)))


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
    origin: TableCut


def by_compute(known: Iterable[Table]) -> list[Cut]:
    return [Cut(family, name, origin) for family, name, runs in known for origin in origins(runs)]


def by_size(known: Iterable[Table]) -> Iterator[Cut]:
    """Yield cuts of which the smallest sizes are fitted at all their lengths: three or more, asked to five times."""
    for family, name, runs in known:
        sizes = np.unique(np.round(np.log(runs.params) / 0.05) * 0.05)
        ratio = runs.tokens / runs.params
        for largest in sizes[2:-1]:
            inside = np.log(runs.params) <= largest + 0.03
            fitted = runs.where(inside)
            further = runs.params / fitted.params.max()
            beyond = ~inside & (ratio >= 1) & (ratio <= 1000) & (further >= 1.6) & (further <= 5.6)
            if len(fitted) >= MIN_RUNS and beyond.any():
                asked = runs.where(beyond)
                yield Cut(family, name, TableCut(fitted, asked))


def ladders(known: Iterable[Table]) -> Iterator[Cut]:
    """Yield six rows of three sizes and lengths or more as a ladder has them, and the run they are asked of."""
    chance = np.random.default_rng(0)
    for family, name, runs in known:
        ratio, count = runs.tokens / runs.params, 0
        for place in chance.permutation(len(runs)):
            further, alike = runs.flops[place] / runs.flops, ratio[place] / ratio
            able = (LADDER_RATIOS[0] <= further) & (further <= LADDER_RATIOS[1]) & (alike >= 1 / 8) & (alike <= 8)
            able &= runs.params <= 1.02 * runs.params[place]
            if not 1 <= ratio[place] <= 1000 or able.sum() < MIN_RUNS or count == LADDERS_PER_TABLE:
                continue
            drawn = (chance.choice(np.flatnonzero(able), MIN_RUNS, replace=False) for _ in range(30))
            chosen = next((rows for rows in drawn if _has_sizes(runs.where(rows))), None)
            if chosen is not None:
                fitted, asked = runs.where(np.sort(chosen)), runs.where(np.array([place]))
                yield Cut(family, name, TableCut(fitted, asked))
                count += 1


def far(known: Iterable[Table]) -> Iterator[Cut]:
    """Yield cuts by compute and up to FAR_PER_CUT runs beyond, of plausible shape, whose forecast has a warning."""
    for family, name, runs in known:
        ratio, log_flops = runs.tokens / runs.params, np.log10(runs.flops)
        for threshold in thresholds(log_flops):
            fitted = runs.where(log_flops <= threshold)
            if len(fitted) < MIN_FITTED or not _has_sizes(fitted):
                continue
            beyond = np.flatnonzero((log_flops > threshold) & (ratio >= LEAST_RATIO) & (ratio <= GREATEST_RATIO))
            asked = [place for place in beyond if is_warned(fitted, runs.params[place], runs.tokens[place])]
            if asked:
                places = np.array(asked)[np.linspace(0, len(asked) - 1, min(len(asked), FAR_PER_CUT)).astype(int)]
                targets = runs.where(places)
                yield Cut(family, name, TableCut(fitted, targets))


def is_warned(fitted: Runs, params: float, tokens: float) -> bool:
    return bool(forecast_warnings(fitted, params, tokens)) and forecast_refusal(fitted, params, tokens) is None


def _has_sizes(runs: Runs) -> bool:
    return min(num_distinct(runs.params), num_distinct(runs.tokens)) >= 3


def law_of(cut: Cut, constants: Constants | None = None, discrepancy: Discrepancy | None = None) -> ScalingLaw:
    """Return the law of a cut, whose prior doesn't know its family."""
    prior, departure = published_prior(without=cut.family), None
    if constants is not None:
        prior, departure = Prior(prior.centre, constants.width), constants.departure
    return ScalingLaw(cut.origin.fitted, discrepancy=discrepancy, prior=prior, departure=departure)


def entries(cut: Cut, law: ScalingLaw) -> list[dict[str, Any]]:
    """Return one entry a forecast of a cut, with what the baselines say."""
    fitted, beyond = cut.origin.fitted, cut.origin.beyond
    once = np.full(len(beyond), np.inf)
    found = law.estimate(beyond.params, beyond.tokens, once)  # of refused targets, too
    errors = np.log(found.median / beyond.loss)
    fit = np.log(law.curve.loss(beyond.params, beyond.tokens) / beyond.loss)
    last = np.log(fitted.loss[int(fitted.flops.argmax())] / beyond.loss)
    moved = np.abs(law.without_each(beyond.params, beyond.tokens)) > NormalDist().inv_cdf(0.95) * found.log_deviation
    sizes = list(zip(beyond.params.tolist(), beyond.tokens.tolist(), strict=True))
    refused = [forecast_refusal(fitted, *size) is not None for size in sizes]
    warned = [bool(forecast_warnings(fitted, *size)) for size in sizes]
    usual = found.log_deviation / np.where(warned, WARNED_WIDENING, 1)
    return [
        {
            "family": cut.family,
            "decades": float(cut.origin.decades[place]),
            "error": float(errors[place]),
            "fit": float(fit[place]),
            "last": float(last[place]),
            "held": bool(abs(errors[place]) <= Z_P90 * found.log_deviation[place]),
            "refused": refused[place],
            "warned": warned[place] and not refused[place],
            "off": float(abs(errors[place]) / (Z_P90 * usual[place])),
            "moved": moved[:, place].tolist(),
        }
        for place in range(len(beyond))
    ]


def forecasts(cuts: Iterable[Cut]) -> list[dict[str, Any]]:
    """Return those of all cuts, with the package's constants."""
    return [entry for cut in cuts for entry in entries(cut, law_of(cut))]


class Scores:
    """Every cut by compute, with the constants that do best on the families that it isn't of."""

    def __init__(self) -> None:
        self.cuts = by_compute(tables())
        self.families = sorted({cut.family for cut in self.cuts})
        self._misses = {constants: self._miss(constants) for constants in CONSTANTS}

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

    def scored(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the forecasts of each family with constants chosen on the others, and the choices."""
        found, choices = [], {}
        laws: dict[Constants, list[ScalingLaw]] = {}
        for family in self.families:
            others = [other for other in self.families if other != family]
            constants = self.best_constants(others)
            if constants not in laws:
                laws[constants] = [law_of(cut, constants) for cut in self.cuts]
            discrepancy = self.best_discrepancy(laws[constants], others)
            choices[family] = asdict(constants.departure) | {"width": constants.width} | asdict(discrepancy)
            for cut, law in zip(self.cuts, laws[constants], strict=True):
                if cut.family == family:
                    law = copy(law)
                    law.discrepancy, law.widening = discrepancy, law.widening_by(discrepancy)
                    found += entries(cut, law)
        constants = self.best_constants(self.families)
        choices["all"] = asdict(constants.departure) | {"width": constants.width}
        if constants in laws:
            choices["all"] |= asdict(self.best_discrepancy(laws[constants], self.families))
        return found, choices

    def best_discrepancy(self, laws: list[ScalingLaw], families: list[str]) -> Discrepancy:
        """Return the one whose coverage is nearest to 80 %, on the average of families and distances."""
        known = []
        for cut, law in zip(self.cuts, laws, strict=True):
            if cut.family in families:
                beyond = cut.origin.beyond
                median, variance = law.posterior.predict(beyond.params, beyond.tokens)
                by_row = np.abs(law.without_each(beyond.params, beyond.tokens)).max(axis=0) / Z_P90
                known.append((cut, law, np.abs(np.log(median / beyond.loss)), variance, by_row))

        def off(discrepancy: Discrepancy) -> float:
            cells: dict[tuple[str, int], list[bool]] = defaultdict(list)
            for cut, law, errors, variance, by_row in known:
                decades = cut.origin.decades
                own = law.widening_by(discrepancy) * discrepancy.deviation(variance, decades, None)
                held = errors <= Z_P90 * np.hypot(own, by_row)
                for place, is_held in zip(np.digitize(decades, [0.5, 1.0], right=True), held, strict=True):
                    cells[cut.family, int(place)].append(bool(is_held))
            return mean(abs(mean(cell) - 0.8) for cell in cells.values())

        return min(DISCREPANCIES, key=off)


def miss(found: list[dict[str, Any]]) -> float:
    """Return the mean over bins of log(median error / target)."""
    logs = []
    for low, high, target in BINS:
        here = [abs(entry["error"]) for entry in found if low < entry["decades"] <= high]
        if here:
            logs.append(float(np.log(100 * np.median(here) / target)))
    return mean(logs)


def summary(found: list[dict[str, Any]], bins: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """Return one line a family and one for all: medians of |error| in % by decades beyond, and shares in %."""
    lines = []
    for family in [*sorted({entry["family"] for entry in found}), "all"]:
        mine = [entry for entry in found if family in (entry["family"], "all")]
        line: dict[str, Any] = {"family": family, "num_forecasts": len(mine)}
        for low, high in bins:
            here = [entry for entry in mine if low < entry["decades"] <= high]
            for name in ("error", "fit", "last"):
                line[f"{name}_{high:g}"] = median_error(here, name)
        line["mean_error"] = round(100 * mean(entry["error"] for entry in mine), 2)
        line["held"] = percent([entry["held"] for entry in mine if not entry["warned"] and not entry["refused"]])
        line["held_warned"] = percent([entry["held"] for entry in mine if entry["warned"]])
        line["moved"] = percent([each for entry in mine for each in entry["moved"]])
        line["moved_largest"] = percent([entry["moved"][0] for entry in mine])
        lines.append(line)
    return lines


def median_error(found: list[dict[str, Any]], name: str) -> float | None:
    return round(100 * float(np.median([abs(entry[name]) for entry in found])), 3) if found else None


def percent(values: list[bool]) -> float | None:
    return round(100 * sum(values) / len(values), 2) if values else None


def widenings(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Return of each family the factor on intervals beside a warning that others need, and what it holds in 100."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, entries_ in found.items():
        for entry in entries_:
            if entry["warned"]:
                cells[entry["family"], kind].append(entry["off"])
    needed = {cell: float(np.quantile(off, 0.85)) for cell, off in cells.items() if len(off) >= LEAST_FORECASTS}
    result = {"all": {"factor": max(needed.values())}}
    for family in sorted({family for family, _ in cells}):
        factor = max(1.0, *(value for (other, _), value in needed.items() if other != family))
        own = np.concatenate([off for (other, _), off in cells.items() if other == family])
        result[family] = {"factor": factor, "num_forecasts": len(own), "held": 100 * float((own <= factor).mean())}
    total = sum(each["num_forecasts"] for name, each in result.items() if name != "all")
    held = sum(each["held"] * each["num_forecasts"] for name, each in result.items() if name != "all")
    result["all"] |= {"num_forecasts": total, "held": held / total}
    return result


def show(title: str, lines: list[dict[str, Any]], bins: list[tuple[float, float]]) -> None:
    """Print a table: median errors as law / fit / last, then the rest."""
    print(f"\n{title}: median error in % of the law / fit / last, by decades of compute beyond the fitted runs")
    heads = "".join(f"{f'{low:g}-{high:g}':>20}" for low, high in bins)
    print(f"{'family':<11}{'forecasts':>9}{heads}{'mean':>7}{'held':>7}{'warned':>8}{'moved, largest':>16}")
    for line in lines:
        cells = ""
        for _, high in bins:
            values = [line[f"{name}_{high:g}"] for name in ("error", "fit", "last")]
            cells += " / ".join("-" if value is None else f"{value:.2f}" for value in values).rjust(20)
        shares = [line[name] for name in ("held", "held_warned", "moved", "moved_largest")]
        texts = ["-" if value is None else f"{value:.1f}" for value in shares]
        rest = f"{texts[0]:>7}{texts[1]:>8}{f'{texts[2]}, {texts[3]}':>16}"
        print(f"{line['family']:<11}{line['num_forecasts']:>9}{cells}{line['mean_error']:>7.2f}{rest}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Back-test the scaling law on published runs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found, choices = Scores().scored()
    bins, whole = [(low, high) for low, high, _ in BINS], [(-1.0, 9.0)]
    results = {"compute": summary(found, bins)}
    kinds = {"sizes": by_size, "ladders": ladders, "far": far}
    by_kind = {kind: forecasts(cuts(tables())) for kind, cuts in kinds.items()}
    results |= {kind: summary(entries_, whole) for kind, entries_ in by_kind.items()}
    for kind, cuts in {"compute": by_compute, **kinds}.items():
        if unseen := forecasts(cuts(kept_back())):
            results[f"kept back, {kind}"] = summary(unseen, whole)[:1]
    factors = widenings(by_kind)
    if arguments.json:
        print(json.dumps({**results, "constants": choices, "widenings": factors}))
        return
    for title, lines in results.items():
        show(title, lines, bins if title == "compute" else whole)
    print("\nintervals beside a warning, by the factor that the other families need:")
    for family, values in factors.items():
        print(f"  {family:<11}", "  ".join(f"{name} {value:.3g}" for name, value in values.items()))
    print("\nconstants chosen on the other families:")
    for family, values in choices.items():
        print(f"  {family:<11}", "  ".join(f"{name} {value:g}" for name, value in values.items()))


if __name__ == "__main__":
    main()
