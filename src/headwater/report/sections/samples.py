"""What it writes: the same prompts continued at several moments of training."""

from __future__ import annotations

from headwater.report.markup import Child, Html, tag
from headwater.report.numbers import count, whole
from headwater.report.run_data import Object, RunData, amount, entries
from headwater.report.sections.probes import pick

_SHOWN = 4


def samples(run: RunData) -> Html:
    looks = [look for look in run.events("samples") if entries(look, "samples")]
    if not looks:
        body: Child = tag(
            "p",
            "Not measured yet: nothing has been sampled; the next look (`train.num_probes`) fills it.",
            class_="missing card",
        )
    else:
        prompts = dict.fromkeys(str(entry.get("prompt", "")) for look in looks for entry in entries(look, "samples"))
        cards = [_prompt_card(looks, prompt) for prompt in prompts]
        lead = "The same prompts, continued by the model as training went on. Nothing is picked or repaired."
        body = [tag("p", lead, class_="lead"), tag("div", cards, class_="grid")]
    return tag("section", tag("h2", "In its own words"), body, id="samples")


def _prompt_card(looks: list[Object], prompt: str) -> Html:
    texts = [(look, text) for look in looks for text in _texts(look, prompt)]
    shown = pick(texts, _SHOWN)
    everything = _list(texts, prompt, "samples")
    more = tag("details", tag("summary", f"All of them, in full: {len(texts)}"), everything)
    heading = tag("h3", tag("q", prompt) if prompt else "From nothing")
    return tag("article", heading, _list(shown, prompt, "samples short"), more, class_="card prompt")


def _texts(look: Object, prompt: str) -> list[str]:
    return [str(entry.get("text", "")) for entry in entries(look, "samples") if str(entry.get("prompt", "")) == prompt]


def _list(texts: list[tuple[Object, str]], prompt: str, class_: str) -> Html:
    return tag("ol", [_sample(look, text, prompt) for look, text in texts], class_=class_)


def _sample(look: Object, text: str, prompt: str) -> Html:
    tokens_seen = amount(look, "tokens_seen")
    when = "before training" if tokens_seen == 0 else f"{count(tokens_seen)} tokens"
    step = tag("span", f"step {whole(amount(look, 'step'))} · {when}", class_="when")
    continuation = text.removeprefix(prompt) if prompt else text
    words = tag("p", tag("span", prompt, class_="given") if prompt else None, continuation, class_="text")
    return tag("li", step, words)
