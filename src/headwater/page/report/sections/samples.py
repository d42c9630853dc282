"""What it writes: the same prompts continued at several moments of training."""

from __future__ import annotations

from headwater.core.numbers import count, whole
from headwater.core.records import Object, amount, entries
from headwater.page.charts.markup import Html, missing, section, tag, written
from headwater.page.report.sections.probes import pick
from headwater.runs.run_data import RunData

_SHOWN = 4


def samples(run: RunData) -> Html:
    records = [record for record in run.events("samples") if entries(record, "samples")]
    if not records:
        why = missing("Not measured yet: the next probe (`train.num_probes`) fills it.")
        return section("What it writes", "samples", why)
    prompts = dict.fromkeys(str(entry.get("prompt", "")) for record in records for entry in entries(record, "samples"))
    cards = [_prompt_card(records, prompt) for prompt in prompts]
    lead = "The same prompts, continued by the model at several moments of training. Nothing is selected or edited."
    return section("What it writes", "samples", tag("p", lead, class_="lead"), tag("div", cards, class_="grid"))


def _prompt_card(records: list[Object], prompt: str) -> Html:
    texts = [(record, text) for record in records for text in _texts(record, prompt)]
    more = tag("details", tag("summary", f"All {len(texts)}, in full"), _list(texts, prompt, "samples"))
    heading = tag("h3", tag("q", prompt) if prompt else "From nothing")
    return tag("article", heading, _list(pick(texts, _SHOWN), prompt, "samples short"), more, class_="card prompt")


def _texts(record: Object, prompt: str) -> list[str]:
    return [
        str(entry.get("text", "")) for entry in entries(record, "samples") if str(entry.get("prompt", "")) == prompt
    ]


def _list(texts: list[tuple[Object, str]], prompt: str, class_: str) -> Html:
    return tag("ol", [_sample(record, text, prompt) for record, text in texts], class_=class_)


def _sample(record: Object, text: str, prompt: str) -> Html:
    tokens_seen = amount(record, "tokens_seen")
    when = "before training" if tokens_seen == 0 else f"{count(tokens_seen)} tokens"
    step = tag("span", f"step {whole(amount(record, 'step'))} · {when}", class_="when")
    continuation = text.removeprefix(prompt) if prompt else text
    given = tag("span", prompt, class_="given") if prompt else None
    return tag("li", step, written(given, continuation))
