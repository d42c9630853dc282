"""The special tokens: they take the first ids, and no text ever encodes to them.

Those for chat, reasoning, tools and fill-in-the-middle are there from the start, so that a later stage needs no
new rows in the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.tokens.tokenizer.settings import NUM_SPECIAL

_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<|think_start|>",
    "<|think_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)
SPECIAL_TOKENS = _NAMED + tuple(f"<|reserved_{number}|>" for number in range(NUM_SPECIAL - len(_NAMED)))
SPECIAL_IDS = {name: token for token, name in enumerate(SPECIAL_TOKENS)}

BEGIN_ID = SPECIAL_IDS["<|begin_of_text|>"]
END_ID = SPECIAL_IDS["<|end_of_text|>"]
PAD_ID = SPECIAL_IDS["<|pad|>"]


@dataclass(frozen=True)
class Markers:
    """The ids around a document and behind the last one of a row; a public tokenizer may have one for all three."""

    begin_id: int
    end_id: int
    pad_id: int


OWN_MARKERS = Markers(BEGIN_ID, END_ID, PAD_ID)
