"""What it can do: probes over tokens, how its guess at the next token sharpens, what it writes, what stages know."""

from __future__ import annotations

from headwater.core.intervals import share
from headwater.core.numbers import count, percent, whole
from headwater.core.printable import printable
from headwater.core.records import Object, amount, entries, table
from headwater.evaluate.tasks import score_text
from headwater.page.picture.blocks import (
    Block,
    Words,
    card,
    data_table,
    fold,
    grid,
    items,
    mark,
    missing,
    not_measured,
    section,
    series,
    text,
    written,
)
from headwater.page.picture.charts_of_run import MAX_PROBE_NAME, PROBES, drawn, probe_chart
from headwater.runs.measures import OF_OWN_TEXT
from headwater.runs.run_data import ALMANAC, RunData, points

_MAX_TOKENS = 8
_MAX_COLUMNS = 12
_NUM_SHADES = 10


_LEAD = (
    "Fraction right over the tokens seen; dotted: what guessing gets. The curve is of a sample of items, the figure "
    "of all of them after training."
)
_NOT_SET = "Not measured: train.num_probes is 0, as it is in the rungs of a ladder."
_NO_PROBES = (
    "Not measured: most probes are about what the almanac teaches, and this run was trained without it; and its "
    "held-out text is too short to make any of."
)
_TASKS = "Tasks of lm-evaluation-harness, after training, with the interval of 95 %."
_SHOWN, _MAX_PROMPTS = 4, 50


def probes(run: RunData) -> Block:
    measured = [name for record in run.events("probes") for name in table(record, "probes")]
    of_almanac = [name for name in PROBES if name not in OF_OWN_TEXT]
    is_of_own_text = bool(measured) and set(measured) <= set(OF_OWN_TEXT)
    names = list(dict.fromkeys([*([] if is_of_own_text else of_almanac), *measured]))
    cards = [_probe(run, index, name) for index, name in enumerate(names)]
    body: list[Block] = [text("lead", _LEAD), grid(cards, "grid quarters")]
    if not measured and amount(run.config, "settings", "train", "num_probes") == 0:
        body = [missing(_NOT_SET)]
    elif not measured and run.corpus and ALMANAC not in table(run.corpus, "sources"):
        body = [missing(_NO_PROBES)]
    return section("probes", "What it can do", body, _tasks(run), _next_tokens(run))


def _tasks(run: RunData) -> Block | None:
    """Return the table of what `headwater evaluate --tasks` kept; None without any."""
    scores = entries(run.tasks, "scores")
    if not scores:
        return None
    rows = []
    for score in scores:
        value, low, high, num_items = (amount(score, name) for name in ("value", "low", "high", "num_items"))
        shown = score_text(value or 0.0, low, high, score.get("is_share") is True)
        rows.append([str(score.get("task")), str(score.get("metric")), shown, whole(num_items) if num_items else "–"])
    return card("Tasks", _TASKS, data_table(["task", "metric", "score", "items"], rows, words=["metric"]))


def _probe(run: RunData, index: int, name: str) -> Block:
    curve = points(run.events("probes"), "tokens_seen", "probes", name, "right")
    latest = table(run.evaluation, "probe_details", name) or table(run.last("probes"), "probes", name)
    chart, what = probe_chart(name, curve, latest, series(index)), "the next probe (`train.num_probes`) fills it."
    title, key = PROBES.get(name, (name.replace("_", " "), ""))[0], f"probe {name[:MAX_PROBE_NAME]}"
    if chart is None:
        return not_measured(title, what)
    count_of = mark("where", _interval(amount(latest, "right"), amount(latest, "num_items")))
    head = [chart["title"], mark("strong", percent(amount(latest, "right")))]
    return drawn(chart, key, title, what, title=head, note=[chart["note"], count_of])


def _interval(right: float | None, num_items: float | None) -> str:
    """Return how many items there are, and the interval of 95 % that follows from it."""
    if right is None or not num_items or not 0 <= right <= 1:
        return ""
    found = share(round(right * num_items), int(num_items))
    return f"{whole(num_items)} items, 95 %: {100 * found.low:.0f}–{100 * found.high:.0f}"


def _next_tokens(run: RunData) -> list[Block]:
    """Return, for each prompt, a table of the likeliest next tokens: rows tokens, columns the probes over time."""
    records = run.events("samples")
    prompts = dict.fromkeys(str(entry.get("prompt", "")) for record in records for entry in entries(record, "next"))
    tables = [_over_time(records, prompt) for prompt in prompts]
    if not any(tables):
        return [not_measured("The next token", "the next probe (`train.num_probes`) fills it.")]
    return [each for each in tables if each]


def _over_time(records: list[Object], prompt: str) -> Block | None:
    columns = [(record, guesses) for record in records if (guesses := _guesses(record, prompt))]
    if not columns:
        return None
    columns = pick(columns, _MAX_COLUMNS)
    tokens = _likely_tokens([guesses for _, guesses in columns])
    heads = [
        "tokens seen",
        *(count(seen) if (seen := amount(record, "tokens_seen")) else "at the start" for record, _ in columns),
    ]
    rows = [
        (None, [mark("code", visible(token)), *[_cell(guesses.get(token)) for _, guesses in columns]])
        for token in tokens
    ]
    note = "Probability of the next token, in percent, over the tokens seen. Empty: not among the likeliest."
    return card(mark("q", f"{prompt} …"), note, data_table(heads, rows) | {"class": "heat"})


def pick(members: list, most: int) -> list:
    """Return at most `most` members, evenly spread, with both ends."""
    if len(members) <= most:
        return members
    return [members[round(index * (len(members) - 1) / (most - 1))] for index in range(most)]


def _guesses(record: Object, prompt: str) -> dict[str, float]:
    found = next((entry for entry in entries(record, "next") if str(entry.get("prompt", "")) == prompt), {})
    guesses: dict[str, float] = {}
    for guess in entries(found, "next"):
        token, probability = guess.get("token"), amount(guess, "probability")
        if isinstance(token, str) and probability is not None:
            guesses[token] = guesses.get(token, 0.0) + probability
    return guesses


def _likely_tokens(columns: list[dict[str, float]]) -> list[str]:
    """Return the tokens to show: half of them the likeliest of the last probe, the others were once likely."""
    final = columns[-1]
    peak = {token: max(column.get(token, 0.0) for column in columns) for column in columns for token in column}
    last = sorted(final, key=lambda token: -final[token])[: _MAX_TOKENS // 2]
    once = sorted(peak.keys() - last, key=lambda token: (-peak[token], token))[: _MAX_TOKENS - len(last)]
    return sorted([*last, *once], key=lambda token: (-final.get(token, 0.0), -peak[token]))


def visible(token: str) -> str:
    """Return a token with its leading space and its line breaks made visible."""
    return printable(token, keep="\n\t").replace("\n", "↵").replace("\t", "⇥").replace(" ", "·")


def _cell(probability: float | None) -> Block:
    """Return a cell of its own shade."""
    if probability is None:
        return {"class": "h0", "text": ""}
    shade = min(_NUM_SHADES, max(0, round(probability * _NUM_SHADES)))
    if probability >= 0.01 and shade == 0:
        shade = 1
    words = "<1" if probability < 0.01 else ">99" if 0.99 < probability < 1 else f"{100 * probability:.0f}"
    return {"class": f"h{shade}", "text": words, "title": f"{100 * probability:.3g} %"}


def samples(run: RunData) -> Block:
    records = [record for record in run.events("samples") if entries(record, "samples")]
    title = "What it writes"
    if not records:
        return section("samples", title, missing("Not measured yet: the next probe (`train.num_probes`) fills it."))
    prompts = dict.fromkeys(str(entry.get("prompt", "")) for record in records for entry in entries(record, "samples"))
    cards = [_prompt_card(records, prompt) for prompt in list(prompts)[:_MAX_PROMPTS]]
    lead = "The same prompts, continued by the model at several moments of training. Nothing is selected or edited."
    return section("samples", title, text("lead", lead), grid(cards))


def _prompt_card(records: list[Object], prompt: str) -> Block:
    texts = [_sample(record, entry, prompt) for record in records for entry in entries(record, "samples")
             if str(entry.get("prompt", "")) == prompt]  # fmt: skip
    more = fold(f"All {len(texts)}, in full", "", items("samples", texts), kind="")
    heading = mark("q", prompt) if prompt else "From nothing"
    return card(heading, None, items("samples short", pick(texts, _SHOWN)), more, kind="card prompt")


def _sample(record: Object, entry: Object, prompt: str) -> Words:
    tokens_seen = amount(record, "tokens_seen")
    when = "before training" if tokens_seen == 0 else f"{count(tokens_seen)} tokens"
    written_on = str(entry.get("text", "")).removeprefix(prompt)
    return written(f"step {whole(amount(record, 'step'))} · {when}", prompt, written_on)


_OF_STAGES = (
    "Capitals asked as a user asks: of real countries, which the base has read of, and of made-up ones, of which no "
    "text tells. Tuning may name those of one half of each, and never those of the other. In brackets the interval of "
    "95 %, and the number of questions. A base doesn't answer in the form that is asked for: nothing of it counts."
)


def knowledge(run: RunData) -> Block | None:
    """Return the part, or None for a run whose knowledge wasn't examined."""
    stages, rows = entries(run.knowledge, "stages"), entries(run.knowledge, "table")
    if not stages or not rows:
        return None
    return section("knowledge", "What each stage changed", [text("lead", _OF_STAGES), _stages(stages, rows)])


def _values(row: Object, num_stages: int) -> list[Object]:
    values = row.get("values")
    found = [each if isinstance(each, dict) else {} for each in values] if isinstance(values, list) else []
    return (found + [{}] * num_stages)[:num_stages]


def _stages(stages: list[Object], rows: list[Object]) -> Block:
    body = [[str(row.get("measure")), *map(_estimate, _values(row, len(stages)))] for row in rows]
    bits = [amount(stage, "bits_per_byte") for stage in stages]
    body.append(["bits per byte of the first run's held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)])
    heads = [f"{stage.get('stage')}: {stage.get('run')}" for stage in stages]
    return card(None, None, data_table(["", *heads], body))


def _estimate(value: Object) -> Words:
    share, low, high, num = (amount(value, name) for name in ("value", "low", "high", "num"))
    if share is None or low is None or high is None or num is None:
        return "–"
    return [percent(share), " ", mark("where", f"({100 * low:.0f}–{100 * high:.0f}, {whole(num)})")]
