"""Settings of the tokenizer, and its special tokens: they take the first ids, and no text ever encodes to them.

Those for chat, reasoning, tools and fill-in-the-middle are there from the start, so that a later stage needs no new
rows in the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from headwater.core.config import Settings

NUM_SPECIAL = 32
MIN_VOCAB_SIZE = NUM_SPECIAL + 256
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


class TokenizerSettings(Settings):
    """The vocabulary and the sample of text that it is trained on."""

    vocab_size: int = Field(default=8192, ge=MIN_VOCAB_SIZE, le=1 << 20)
    """Number of token ids, the 32 special tokens and the 256 bytes included."""

    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens is merged only when the training text holds it at least this often."""

    max_bytes: int = Field(default=32_000_000, ge=100_000)
    """Bytes of text taken from each source to train on; a larger source is sampled by the hash of its text."""


@dataclass(frozen=True)
class Markers:
    """The ids around a document and behind the last one of a row; a public tokenizer may have one for all three."""

    begin_id: int
    end_id: int
    pad_id: int


OWN_MARKERS = Markers(BEGIN_ID, END_ID, PAD_ID)
