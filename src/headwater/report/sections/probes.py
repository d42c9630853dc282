"""What it learnt to do: probes over tokens, and how its guess at the next token sharpens."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.report.chart import Spec, chart_card, label, layout, level, line, not_measured, plot, series
from headwater.report.curves import Points, on_log_axis, thin
from headwater.report.markup import Child, Html, printable, render, tag
from headwater.report.measures import ability_curve
from headwater.report.numbers import count, percent, whole
from headwater.report.run_data import ALMANAC, Object, RunData, amount, entries, table

_MAX_TOKENS = 8
_MAX_PROBES = 12
_NUM_SHADES = 10
_MANY_OPTIONS = 0.3  # below this chance there are so many options that a rank says something


@dataclass(frozen=True, slots=True)
class Ability:
    title: str
    what: str


_ABILITIES = {
    "capitals": Ability("Facts", "A country's capital is likelier than all others, in phrasings never trained on."),
    "agreement": Ability("Grammar", "Of two sentences the one whose verb agrees is likelier."),
    "sums": Ability("Arithmetic", "The right result is likeliest, for sums never trained on."),
    "cause": Ability("Cause and effect", "Of two endings the one that follows is likelier."),
}


_LEAD = (
    "Fraction right over the logarithm of the tokens seen; the dotted line is what guessing gets. The curve follows a "
    "sample of the items, the figure is that of all of them once training is over. Style is shown above, as bits per "
    "byte by source."
)
_NO_PROBES = "Not measured: the probes ask for what the almanac teaches, and this run was trained without it."


def abilities(run: RunData) -> Html:
    measured = [name for record in run.events("probes") for name in table(record, "probes")]
    names = list(dict.fromkeys([*_ABILITIES, *measured]))
    cards = [_ability(run, index, name) for index, name in enumerate(names)]
    probes: Child = [tag("p", _LEAD, class_="lead"), tag("div", cards, class_="grid quarters")]
    if not measured and run.corpus and ALMANAC not in table(run.corpus, "sources"):
        probes = tag("p", _NO_PROBES, class_="missing card")
    return tag("section", tag("h2", "What it can do"), probes, _next_tokens(run), id="probes")


def _ability(run: RunData, index: int, name: str) -> Html:
    ability = _ABILITIES.get(name, Ability(name.replace("_", " "), "Fraction right."))
    curve = thin(on_log_axis(ability_curve(run, name)))
    if not curve:
        return not_measured(
            ability.title, "the probes have not been scored; the next look (`train.num_probes`) fills it."
        )
    latest = table(run.evaluation, "ability_details", name) or table(run.last("probes"), "probes", name)
    right = percent(amount(latest, "right"))
    body = _ability_plot(
        f"{ability.title}: {right} right at the end.", ability, curve, amount(latest, "chance"), series(index)
    )
    note = [ability.what, tag("span", _details(latest), class_="where")]
    return chart_card([ability.title, tag("strong", right)], note, body)


def _ability_plot(summary: str, ability: Ability, curve: Points, chance: float | None, color: str) -> Html:
    marks: Spec = {"mode": "lines+markers", "marker": {"size": 5, "color": f"@{color}"}}
    traces = [line(ability.title, curve, color, hovertemplate="%{y:.1%}", **marks)]
    annotations = []
    if chance is not None:
        traces.append(level("chance", chance, [x for x, _ in curve], "muted", "dot"))
        # the curve begins on this line and later rises from it, so there is room on the left
        text = f"chance {percent(chance, 0 if chance >= 0.1 else 1)}"
        annotations.append(label(text, chance, "muted", above=chance < 0.2, at_left=True))
    y_axis = {"range": [-0.03, 1.05], "tickformat": ".0%", "dtick": 0.25}
    chart_layout = layout(traces, log_x=True, max_x_ticks=4, annotations=annotations, showlegend=False, yaxis=y_axis)
    return plot(summary, traces, chart_layout, "small")


def _details(latest: Object) -> Child:
    num_items, chance = amount(latest, "num_items"), amount(latest, "chance")
    parts = [f"{whole(num_items)} items" if num_items is not None else None]
    if chance is not None and chance < _MANY_OPTIONS:
        rank, probability = amount(latest, "median_rank"), amount(latest, "mean_probability")
        parts.append(f"median rank {rank:g}" if rank is not None else None)
        parts.append(f"mean probability {percent(probability)}" if probability is not None else None)
    return " · ".join(part for part in parts if part) or None


def _next_tokens(run: RunData) -> Html:
    """Return, for each prompt, a table of the likeliest next tokens: rows tokens, columns the looks over time."""
    looks = run.events("samples")
    prompts = dict.fromkeys(str(entry.get("prompt", "")) for look in looks for entry in entries(look, "next"))
    tables = [_sharpening(looks, prompt) for prompt in prompts]
    if not any(tables):
        return not_measured(
            "The next token",
            "no look has been taken; the next one (`train.num_probes`) fills it.",
        )
    return render(tables)


def _sharpening(looks: list[Object], prompt: str) -> Html | None:
    columns = [(look, guesses) for look in looks if (guesses := _guesses(look, prompt))]
    if not columns:
        return None
    columns = pick(columns, _MAX_PROBES)
    tokens = _telling_tokens([guesses for _, guesses in columns])
    heads = [tag("th", words, scope="col") for words in ["tokens seen", *[_when(look) for look, _ in columns]]]
    rows = [
        tag("tr", tag("th", _token(token), scope="row"), [_cell(guesses.get(token)) for _, guesses in columns])
        for token in tokens
    ]
    body = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="heat")
    note = "What comes next? Probability in percent as more tokens are seen; an empty cell was not among the likeliest."
    caption = tag("figcaption", tag("h3", tag("q", f"{prompt} …")), tag("p", note))
    return tag("figure", caption, tag("div", body, class_="scroll"), class_="card")


def pick(members: list, most: int) -> list:
    """Return at most `most` members, evenly spread, with both ends."""
    if len(members) <= most:
        return members
    return [members[round(index * (len(members) - 1) / (most - 1))] for index in range(most)]


def _guesses(look: Object, prompt: str) -> dict[str, float]:
    found = next((entry for entry in entries(look, "next") if str(entry.get("prompt", "")) == prompt), {})
    guesses: dict[str, float] = {}
    for guess in entries(found, "next"):
        token, probability = guess.get("token"), amount(guess, "probability")
        if isinstance(token, str) and probability is not None:
            guesses[token] = guesses.get(token, 0.0) + probability
    return guesses


def _telling_tokens(columns: list[dict[str, float]]) -> list[str]:
    """Return the tokens to show: the likeliest of the last look first, then those that were once likely."""
    last = sorted(columns[-1], key=lambda token: -columns[-1][token])
    peak = {token: max(column.get(token, 0.0) for column in columns) for column in columns for token in column}
    once = sorted((token for token in peak if token not in last[: _MAX_TOKENS // 2]), key=lambda token: -peak[token])
    chosen = last[: _MAX_TOKENS // 2] + once
    final = columns[-1]
    return sorted(chosen[:_MAX_TOKENS], key=lambda token: (-final.get(token, 0.0), -peak[token]))


def _when(look: Object) -> str:
    tokens_seen = amount(look, "tokens_seen")
    return "untrained" if tokens_seen == 0 else count(tokens_seen)


def _token(token: str) -> Html:
    """Return a token with its leading space and its line breaks made visible."""
    shown = printable(token).replace("\n", "↵").replace("\t", "⇥").replace(" ", "·")
    return tag("code", shown)


def _cell(probability: float | None) -> Html:
    if probability is None:
        return tag("td", "", class_="h0")
    shade = min(_NUM_SHADES, max(0, round(probability * _NUM_SHADES)))
    if probability >= 0.01 and shade == 0:
        shade = 1
    text = "<1" if probability < 0.01 else ">99" if 0.99 < probability < 1 else f"{100 * probability:.0f}"
    return tag("td", text, class_=f"h{shade}", title=f"{100 * probability:.3g} %")
