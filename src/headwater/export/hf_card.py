"""The model card: what the export is, what it was made of and how it is used. Nothing is claimed that isn't counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headwater.core.files import read_json, write_text
from headwater.export.data_card import plain, table
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.train.checkpoint.origins import Origin, Origins


@dataclass(frozen=True)
class CardFacts:
    """What a card says of a run.

    origins  the models that it was made of, the first first, itself last
    facts    rows of its table, as they are
    scores   bits per byte by what was scored
    changes  of alignment: what was measured, before and after
    """

    origins: Origins = ()
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    changes: Sequence[tuple[str, str, str]] = ()


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
{base}tags:
- headwater
---

# {heading}

{about}

{facts}

## How it was made

{made}
{scores}{changes}{data}
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
{example}
```

{tokenizer}- It was trained with headwater on at most {seq_len} tokens at a time; {longer}.
"""

_PLAIN_EXAMPLE = """\
inputs = tokenizer("The river", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40, do_sample=True)[0]))"""

_CHAT_EXAMPLE = """\
messages = [{"role": "user", "content": "What is the capital of Peru?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))"""

_SCORES = """
## Evaluation

Bits per byte; lower is better.

{table}
"""

_CHANGES = """
## What alignment changed

Measured on prompts that it was not trained on; in brackets intervals of 95 %.

{table}
"""

_DATA = """
What it was trained on, under which licences, and what was excluded: [DATA_CARD.md](DATA_CARD.md).
"""

_UNSEEN = "longer input is outside of what it has seen"
_HEADINGS = {
    "scratch": "A base model pre-trained with headwater",
    "continued": "A model trained on more text with headwater",
    "tuned": "A model tuned on conversations with headwater",
    "rewards": "A model aligned by rewards with headwater",
    "preferences": "A model aligned by preferences with headwater",
}


def write_card(
    folder: Path, model: ModelSettings, card: CardFacts, about_tokenizer: str, is_tuned: bool = False
) -> None:
    """Write README.md of an export whose other files lie in `folder`.

    `about_tokenizer` are lines of a list; `is_tuned`: on conversations, so that the example asks for an answer.
    """
    known: dict[str, str | int | float] = {
        "family": model.family,
        "parameters": count_parameters(model).total,
        "layers": model.num_layers,
        "width": model.d_model,
        "context (tokens)": model.seq_len,
        "vocabulary": model.vocab_size,
        "number format of these weights": read_json(folder / "config.json")["dtype"],
    }
    rows = [[name, value] for name, value in {**known, **card.facts}.items()]
    measured = [[name, f"{value:.3f}"] for name, value in card.scores.items()]
    changes, is_of_others = [list(row) for row in card.changes], any(each.kind == "others" for each in card.origins)
    text = _CARD.format(
        base=_base_model([each.name for each in card.origins[-2::-1]]),
        heading=_HEADINGS.get(card.origins[-1].kind if card.origins else "", "A model exported by headwater"),
        about=_about(card.origins, is_tuned),
        facts=table(["", ""], rows),
        made=_made(card.origins),
        scores=_SCORES.format(table=table(["on", "bits per byte"], measured)) if measured else "",
        changes=_CHANGES.format(table=table(["", "before", "after"], changes)) if changes else "",
        data=_DATA if (folder / "DATA_CARD.md").exists() else "",
        example=_CHAT_EXAMPLE if is_tuned else _PLAIN_EXAMPLE,
        seq_len=model.seq_len,
        longer="what it saw before that is on the card of its first model" if is_of_others else _UNSEEN,
        tokenizer=about_tokenizer,
    )
    write_text(folder / "README.md", text)


def _base_model(names: Sequence[str]) -> str:
    """Return the lines of the card's head that name the models before this one, the nearest first."""
    if not names:
        return ""
    lines = [f'- "{"".join(map(_in_quotes, name))}"' for name in dict.fromkeys(names)]
    return "\n".join(["base_model:", *lines, "base_model_relation: finetune", ""])


def _in_quotes(letter: str) -> str:
    """Return a letter as a double-quoted string of YAML has it."""
    return letter if " " <= letter <= "~" and letter not in '"\\' else f"\\U{ord(letter):08x}"


def _about(origins: Origins, is_tuned: bool) -> str:
    """Return what a model does and what nobody should expect of it."""
    if not origins or origins[-1].kind == "unknown":
        return "How it came to be was not recorded: it was made by an older headwater."
    before, last = origins[:-1], origins[-1]
    others = next((each for each in before if each.kind == "others"), None)
    answering = next((each for each in reversed(before) if each.is_tuned or each.answers), None)
    unknown = next((each for each in before if each.kind == "unknown"), None)
    sentences = []
    if is_tuned:
        sentences.append("It answers messages that are written in its chat template, as the conversations that it was "
                         "tuned on do. It was not made to refuse anything that they don't refuse, and what it says may "
                         "be wrong: conversations teach a form, and hardly any knowledge.")  # fmt: skip
        if others is not None and others.answers:
            sentences.append(f"Its chat template is not that of {plain(others.name)}: what that model answers or "
                             "refuses may have been lost, which was not measured.")  # fmt: skip
    elif answering is not None:
        sentences.append(f"It continues text. {plain(answering.name)}, which it was made of, answers messages; this "
                         "run trained on none. Whether it still answers, and refuses what that model refuses, was not "
                         "measured.")  # fmt: skip
    elif unknown is not None:
        sentences.append(f"It continues text. What {plain(unknown.name)}, which it was made of, was trained for was "
                         "not recorded: it was made by an older headwater.")  # fmt: skip
    elif others is not None:
        sentences.append("It continues text. Nothing here trained it to follow instructions or to refuse anything; "
                         f"what {plain(others.name)} was trained for, its own card says.")  # fmt: skip
    else:
        sentences.append("It continues text. It was not trained to follow instructions or to refuse anything.")
    if last.kind == "rewards":
        sentences.append("Answers that a reward prefers were then made likelier. That makes it better at what the "
                         "reward asks on prompts such as those, and may make it worse at all else.")  # fmt: skip
    if last.kind == "preferences":
        sentences.append("Preferred answers were then made likelier than others, by DPO (arXiv:2305.18290). What was "
                         "preferred in those pairs need not be better on other prompts.")  # fmt: skip
    return " ".join(sentences)


def _made(origins: Origins) -> str:
    """Return a table of the models that a model was made of, and whose licences it is under."""
    rows = [[each.name, _done(each), "not counted here" if each.tokens is None else each.tokens] for each in origins]
    lines = [table(["model", "what was done", "training tokens, padding included"], rows)]
    lines += [
        f"The first weights are those of {plain(each.name)}, which was made elsewhere. "
        f"Licence of it: {plain(each.detail) or 'unknown: ask its makers before you pass this model on'}."
        for each in origins
        if each.kind == "others"
    ]
    return "\n\n".join(lines)


def _done(origin: Origin) -> str:
    number = f"{origin.num_examples:,}"
    among = f", {number} conversations among its text" if origin.num_examples else ""
    return {
        "others": "made by others",
        "scratch": f"pre-trained from random weights{among}",
        "continued": "trained on more text",
        "tuned": f"tuned on {number} conversations",
        "rewards": f"aligned by rewards ({origin.detail}) for answers to {number} prompts",
        "preferences": f"aligned by DPO on {number} pairs of answers",
        "unknown": "not recorded",
    }[origin.kind]
