"""The page of a fitted law: isoFLOP curves, the frontier with its band, profiles of the exponents, notes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headwater.files import write_text
from headwater.report.chart import Spec, chart_card, layout, level, line, log_y, plot, series
from headwater.report.markup import Child, Html, card, data_table, section, tag
from headwater.report.numbers import apart, count, decimal, significant
from headwater.report.page import whole_page
from headwater.scaling.pictures import Frontier, frontier, isoflops
from headwater.scaling.profile import DROP_80
from headwater.scaling.study import NOT_THE_LAW, RELATED, Study, optimum_fields

_LEAST_HEIGHT = -6.0  # of a profile: below it an exponent is out of the question, however far


def write_law_page(path: Path, table: str, done: Study, fields: dict[str, Any]) -> None:
    """Write the page; `fields` is what `ladder --table --json` prints."""
    law = done.law
    formula = (
        f"loss = {law.E:.4f} + {significant(law.A, 4)} / params^{law.alpha:.4f} "
        f"+ {significant(law.B, 4)} / tokens^{law.beta:.4f}"
    )
    difference = f"In the pictures and forecasts below, {NOT_THE_LAW}."
    cards = [_isoflop_card(done), _frontier_card(done), _profile_card(done)]
    parts = [
        tag("header", tag("h1", table), tag("p", formula, class_="lead"), tag("p", difference, class_="lead")),
        tag("main", tag("section", tag("div", cards, class_="grid")), _forecasts(fields), _notes(fields)),
        tag("footer", f"Made by headwater from {len(done.runs)} runs. This file makes no request to any server."),
    ]
    write_text(path, whole_page(table, parts))


def _nothing(title: str, why: str) -> Html:
    """Return the card in the place of a picture that these runs can't fill; `why` says which would."""
    return chart_card(title, None, tag("p", f"Nothing to draw: {why}", class_="missing"))


def _pairs(xs: Iterable[float], ys: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(xs, ys)]


def _dots(name: str, xs: Iterable[float], ys: Iterable[float], color: str) -> Spec:
    return line(name, _pairs(xs, ys), color) | {"mode": "markers", "marker": {"color": f"@{color}", "size": 5}}


def _axes(traces: list[Spec], unit: str, y: str, **more: Any) -> Spec:
    """Return logarithmic axes over something other than tokens."""
    drawn = layout(traces, y, unit, log_x=True, hovermode="closest", **more)
    drawn["xaxis"] |= {"unifiedhovertitle": {"text": f"%{{x:,.3s}} {unit}"}, "hoverformat": ".3s"}
    return drawn


def _isoflop_card(done: Study) -> Html:
    curves = isoflops(done.forecaster)
    if not curves:
        return _nothing(
            "Loss by size at equal compute",
            "three runs of different sizes at about the same compute draw a curve, and this table has none such.",
        )
    traces = []
    for index, curve in enumerate(curves):
        traces.append(line(f"{curve.flops:.2g} FLOPs", _pairs(curve.params, curve.losses), series(index)))
        traces.append(_dots("runs", curve.run_params, curve.run_losses, series(index)) | {"showlegend": False})
    summary = (
        f"Loss over parameters at {len(curves)} amounts of compute; each curve has its least loss at its best size."
    )
    note = "Dots are runs, lines the fit at the same compute."
    drawn = _axes(traces, "parameters", "loss")
    return chart_card("Loss by size at equal compute", note, plot(summary, traces, drawn, "tall"))


def _frontier_card(done: Study) -> Html:
    found, runs = frontier(done.forecaster), done.runs
    if found is None:
        return _nothing(
            "Least loss by compute",
            "runs of several sizes at several lengths show which size is best, and these don't.",
        )
    low, high, middle = (_pairs(found.flops, values) for values in (found.p10, found.p90, found.p50))
    band: dict[str, Any] = {"width": 0, "showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
    traces = [
        line("P10", low, "series-1", **band),
        line("P90", high, "series-1", **band, fill="tonexty", opacity=0.3),
        line("best size, P10 to P90", middle, "series-1"),
        _dots("runs", runs.flops.tolist(), runs.loss.tolist(), "series-2"),
    ]
    drawn = _axes(traces, "FLOPs", "loss", max_x_ticks=5, yaxis=log_y([y for trace in traces for y in trace["y"]]))
    drawn["xaxis"]["ticktext"] = [f"{tick:.0e}".replace("+", "") for tick in drawn["xaxis"]["tickvals"]]
    note = f"FLOPs are 6 × parameters × tokens. {_at_largest(found, done)}"
    summary = f"Least loss by compute, from {decimal(found.p50[0])} to {decimal(found.p50[-1])}, with P10 to P90."
    return chart_card("Least loss by compute", note, plot(summary, traces, drawn, "tall"))


def _at_largest(found: Frontier, done: Study) -> str:
    if "refused" in optimum_fields(done):
        return "Which size is best these rows don't say."
    nearest = int(abs(found.flops - done.runs.flops.max()).argmin())
    size = count(found.params[nearest])
    return f"At {found.flops[nearest]:.2g}, about the largest run's compute, the best size is {size} parameters."


def _profile_card(done: Study) -> Html:
    both = list(zip(("alpha, of params", "beta, of tokens"), done.profiles))
    traces = [
        line(
            name,
            [(x, y) for x, y in _pairs(profile.exponents, profile.log_likelihood) if y >= _LEAST_HEIGHT],
            series(index),
        )
        for index, (name, profile) in enumerate(both)
    ]
    traces.append(level("80 % interval", -DROP_80, [x for trace in traces for x in trace["x"]], "muted"))
    words = [
        f"{name.split(',')[0]} {' to '.join(apart(profile.p10, profile.p90))} (in the law above {profile.of_law:.4f})"
        for name, profile in both
    ]
    note = (
        f"How much worse the best fit becomes with this exponent, {RELATED}; P10 to P90: {', '.join(words)}. "
        "Where the curve is flat, the runs don't say."
    )
    summary = f"Profile likelihood of the exponents. P10 to P90: {', '.join(words)}."
    drawn = _axes(traces, "exponent", "log-likelihood")
    return chart_card("What the rows say of the exponents", note, plot(summary, traces, drawn, "tall"))


def _forecasts(fields: dict[str, Any]) -> Html | None:
    if not fields.get("forecasts"):
        return None
    heads = ["parameters", "tokens", "epochs", "P10", "P50", "P90", "refused because"]
    rows: list[list[Child]] = []
    for found in fields["forecasts"]:
        bands = [decimal(found.get(name), 4) for name in ("p10", "p50", "p90")]
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
