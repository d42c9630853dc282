"""Settings of the tokenizer."""

from __future__ import annotations

from pydantic import Field

from headwater.core.config import Settings

NUM_SPECIAL = 32  # tokens that no text encodes to (`tokenizer.special`)
MIN_VOCAB_SIZE = NUM_SPECIAL + 256


class TokenizerSettings(Settings):
    """The vocabulary and the sample of text that it is trained on."""

    vocab_size: int = Field(default=8192, ge=MIN_VOCAB_SIZE, le=1 << 20)
    """Number of token ids, the 32 special tokens and the 256 bytes included."""

    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens is merged only when the training text holds it at least this often."""

    max_bytes: int = Field(default=32_000_000, ge=100_000)
    """Bytes of text taken from each source to train on; a larger source is sampled by the hash of its text."""
