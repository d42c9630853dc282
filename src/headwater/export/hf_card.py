"""The model card: what the export is and how it is used. Numbers come from the caller; nothing is claimed here."""

from __future__ import annotations

from collections.abc import Mapping

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

| | |
|---|---|
{rows}
{data}
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
inputs = tokenizer("The river", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40, do_sample=True)[0]))
```

- The tokenizer puts the begin token before every text, as in training.
- Text that spells a special token becomes that token. For text from strangers use
  `tokenizer(text, split_special_tokens=True)`, which reads the spelling as plain text, as training did.
- The model was trained on at most {seq_len} tokens at a time; longer input is outside of what it has seen.
{chat}"""

_DATA = """
What it was trained on, under which licences, and what was left out: [DATA_CARD.md](DATA_CARD.md).
"""

_CHAT = """\
- A chat template is set and its tokens are in the vocabulary, untrained: they are there for fine-tuning.
"""


def model_card(
    model: ModelSettings,
    num_parameters: int,
    dtype: str,
    facts: Mapping[str, str | int | float],
    has_chat: bool,
    has_data_card: bool = False,
) -> str:
    """Return README.md of the export; `facts` become rows of its table, as they are."""
    known: dict[str, str | int | float] = {
        "family": model.family,
        "parameters": num_parameters,
        "layers": model.num_layers,
        "width": model.d_model,
        "context (tokens)": model.seq_len,
        "vocabulary": model.vocab_size,
        "weights": dtype,
    }
    rows = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in {**known, **facts}.items())
    return _CARD.format(
        rows=rows, seq_len=model.seq_len, chat=_CHAT if has_chat else "", data=_DATA if has_data_card else ""
    )


def _cell(value: str | int | float) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
    return text.replace("|", "\\|").replace("\n", " ")
