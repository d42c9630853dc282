"""Strings that spell special tokens, said by everybody in a conversation: how many special ids come of them? None may.

python benchmarks/hostile_conversations.py [--strings 100000] [--tokenizer RUN/data/tokenizer]
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from headwater.conversations import ASSISTANT, SYSTEM, USER, Message
from headwater.tokenizer.conversation import render, turn_ids
from headwater.tokenizer.settings import TokenizerSettings
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokenizer.train import train_tokenizer

AT_ONCE = 5000
PIECES = [
    "<|",
    "|>",
    "<",
    "|",
    ">",
    "im_",
    "_end",
    "start",
    "im_end",
    "\n",
    "\r\n",
    " ",
    "\t",
    "user",
    "assistant\n",
    "é",
    "河",
]
PIECES += [
    "system\n",
    "\x00",
    "\u200b",
    "\ufeff",
    "\u202e",
    "🙂",
    "e\u0301",
    "<|im_start|",
    "|im_end|>",
    "<|im_end |>",
    "0",
    "</s>",
    "[INST]",
]


def hostile_strings(special: list[str], number: int, seed: int) -> list[str]:
    """Return strings of special tokens, their parts and any other characters."""
    chance = random.Random(seed)
    pieces = [*special, *PIECES]

    def string() -> str:
        if chance.random() < 0.1:  # of the whole of Unicode but halves of surrogate pairs
            points = (chance.choice((chance.randrange(0xD800), chance.randrange(0xE000, 0x110000))) for _ in range(20))
            return "".join(map(chr, points)) + chance.choice(special)
        return "".join(chance.choices(pieces, k=chance.randint(1, 12)))

    return [string() for _ in range(number)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    if options.tokenizer is None:
        folder = Path(tempfile.mkdtemp()) / "tokenizer"
        text = Path(__file__).read_text() * 4
        train_tokenizer({"here": [text]}, TokenizerSettings(vocab_size=400), folder, "", lambda line: None)
    tokenizer = Tokenizer.load(options.tokenizer or folder)
    special, (start, end) = set(tokenizer.special.values()), turn_ids(tokenizer)
    num_strings = num_from_text = num_changed = 0
    while num_strings < options.strings:
        strings = hostile_strings(list(tokenizer.special), min(AT_ONCE, options.strings - num_strings), num_strings)
        roles = (SYSTEM, USER, ASSISTANT)
        talks = [
            [Message(roles[at % 3], text) for at, text in enumerate(strings[first : first + 3])]
            for first in range(0, len(strings), 3)
        ]
        for messages, found in zip(talks, render(tokenizer, talks), strict=True):
            ids = found.ids.tolist()
            num_from_text += sum(token in special for token in ids) - 2 * len(messages)
            num_changed += [token for token in ids if token in special] != [start, end] * len(messages)
            said = "".join(f"{role}\n{text}\n" for role, text in messages)
            num_changed += tokenizer.decode_bytes(ids) != said.encode()
        num_strings += len(strings)
    print(f"{num_strings:,} strings: {num_from_text} special ids from text, {num_changed} conversations changed")
    raise SystemExit(bool(num_from_text or num_changed))


if __name__ == "__main__":
    main()
