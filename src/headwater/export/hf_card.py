"""The model card: what the export is and how it is used. Numbers come from the caller; nothing is claimed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from headwater.export.data_card import table
from headwater.files import no_check, read_json, write_text
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings

_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- headwater
---

# A base model pre-trained with headwater

It continues text. It was not trained to follow instructions or to refuse anything.

{facts}
{scores}{data}
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
inputs = tokenizer("The river", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40, do_sample=True)[0]))
```

{tokenizer}- The model was trained on at most {seq_len} tokens at a time; longer input is outside of what it has seen.
"""

_SCORES = """
## Evaluation

Bits per byte; lower is better.

{table}
"""

_DATA = """
What it was trained on, under which licences, and what was excluded: [DATA_CARD.md](DATA_CARD.md).
"""


def write_card(
    folder: Path,
    model: ModelSettings,
    facts: Mapping[str, str | int | float],
    scores: Mapping[str, float],
    about_tokenizer: str,
    before_commit: Callable[[], None] = no_check,
) -> None:
    """Write README.md of an export whose other files lie in `folder`.

    `facts` become rows of its table, as they are; `scores` are bits per byte by what was scored; `about_tokenizer` are
    lines of a list.
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
    rows = [[name, value] for name, value in {**known, **facts}.items()]
    measured = [[name, f"{value:.3f}"] for name, value in scores.items()]
    text = _CARD.format(
        facts=table(["", ""], rows),
        scores=_SCORES.format(table=table(["on", "bits per byte"], measured)) if scores else "",
        data=_DATA if (folder / "DATA_CARD.md").exists() else "",
        seq_len=model.seq_len,
        tokenizer=about_tokenizer,
    )
    write_text(folder / "README.md", text, before_commit)
