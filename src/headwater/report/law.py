"""The page of a fitted law: least loss by compute with its interval, forecasts, what the rows don't show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import DataError
from headwater.files import write_text
from headwater.numbers import count, decimal, significant
from headwater.report.chart import chart_card, layout, line, log_y, plot
from headwater.report.markup import Child, Html, card, data_table, section, tag
from headwater.report.page import whole_page
from headwater.scaling import Optimum, ScalingLaw

NUM_POINTS, MAX_DECADES_DRAWN = 40, 1.5


def write_law_page(path: Path, table: str, law: ScalingLaw, fields: dict[str, Any]) -> None:
    """Write the page; `fields` is what `ladder --table --json` prints."""
    curve = law.curve
    formula = (
        f"loss = {curve.E:.4f} + {significant(curve.A, 4)} / params^{curve.alpha:.4f} "
        f"+ {significant(curve.B, 4)} / tokens^{curve.beta:.4f}"
    )
    difference = (
        "The median of a forecast is not this curve: it averages over exponents that the runs leave open, and follows "
        "nearby runs."
    )
    cards = [_frontier_card(law, fields)]
    parts = [
        tag("header", tag("h1", table), tag("p", formula, class_="lead"), tag("p", difference, class_="lead")),
        tag("main", tag("section", tag("div", cards, class_="grid")), _forecasts(fields), _notes(fields)),
        tag("footer", f"Made by headwater from {len(law.runs)} runs. This file makes no request to any server."),
    ]
    write_text(path, whole_page(table, parts))


def _pairs(xs: Iterable[float], ys: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(xs, ys)]


def _frontier_card(law: ScalingLaw, fields: dict[str, Any]) -> Html:
    """Return loss at the best size by compute with its interval, from the least run to as far beyond as rows reach."""
    runs, title = law.runs, "Least loss by compute"
    low, high = math.log10(runs.flops.min()), math.log10(runs.flops.max())
    budgets = np.logspace(low, high + min(high - low, MAX_DECADES_DRAWN), NUM_POINTS).tolist()
    best = [found for budget in budgets if (found := _best_size(law, budget)) is not None]
    if len(best) < 2:
        why = "runs of several sizes at several lengths show which size is best, and these don't."
        return chart_card(title, None, tag("p", f"Nothing to draw: {why}", class_="missing"))
    flops = [found.flops for found in best]
    losses = law.predict([found.params for found in best], [found.tokens for found in best])
    band: dict[str, Any] = {"width": 0, "showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
    traces = [
        line("P10", _pairs(flops, losses.low), "series-1", **band),
        line("P90", _pairs(flops, losses.high), "series-1", **band, fill="tonexty", opacity=0.3),
        line("best size, P10 to P90", _pairs(flops, losses.median), "series-1"),
        line("runs", _pairs(runs.flops, runs.loss), "series-2")
        | {"mode": "markers", "marker": {"color": "@series-2", "size": 5}},
    ]
    heights = [y for trace in traces for y in trace["y"]]
    drawn = layout(traces, "loss", "FLOPs", log_x=True, hovermode="closest", max_x_ticks=5, yaxis=log_y(heights))
    drawn["xaxis"] |= {"unifiedhovertitle": {"text": "%{x:,.3s} FLOPs"}, "hoverformat": ".3s"}
    drawn["xaxis"]["ticktext"] = [f"{tick:.0e}".replace("+", "") for tick in drawn["xaxis"]["tickvals"]]
    note = f"FLOPs are 6 × parameters × tokens. {_at_largest(fields['optimum'])}"
    middle = losses.median
    summary = f"Least loss by compute, from {decimal(middle[0])} to {decimal(middle[-1])}, with P10 to P90."
    return chart_card(title, note, plot(summary, traces, drawn, "tall"))


def _best_size(law: ScalingLaw, flops: float) -> Optimum | None:
    """Return the best size where the rows carry it and its loss."""
    try:
        found = law.optimum(flops)
        law.predict(found.params, found.tokens)
    except DataError:
        return None
    return found


def _at_largest(found: dict[str, Any]) -> str:
    if "refused" in found:
        return "Which size is best these rows don't say."
    return f"At {found['flops']:.2g} the best size is {count(found['params'])} parameters."


def _forecasts(fields: dict[str, Any]) -> Html | None:
    if not fields.get("forecasts"):
        return None
    heads = ["parameters", "tokens", "epochs", "P10", "P50", "P90", "curve", "refused because"]
    rows: list[list[Child]] = []
    for found in fields["forecasts"]:
        bands = [decimal(found.get(name), 4) for name in ("p10", "p50", "p90", "curve")]
        sizes = [count(found["params"]), count(found["tokens"]), f"{found.get('epochs', 1):g}"]
        rows.append([*sizes, *bands, found.get("refused")])
    return section("Forecasts", "forecasts", card(None, None, data_table(heads, rows, words=heads[-1:])))


def _notes(fields: dict[str, Any]) -> Html | None:
    texts = [warning["says"] for warning in fields["warnings"]]
    for found in fields.get("forecasts", []):
        target = f"{count(found['params'])} parameters, {count(found['tokens'])} tokens"
        texts += [f"{target}: {warning['says']}" for warning in found.get("warnings", [])]
    epochs = fields["repetition"]["most_readings"]
    if epochs > 1:
        texts.append(f"Runs of up to {epochs:.2g} epochs: dots and curves are without the cost of repetition.")
    if refused := fields["optimum"].get("refused"):
        texts.append(f"No best size for {fields['optimum']['flops']:.3g} FLOPs: {refused}.")
    if not texts:
        return None
    items = tag("ul", [tag("li", text) for text in texts], class_="notes")
    return section("What these rows don't show", "notes", items)
