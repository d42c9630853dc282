"""Small tokenizers as public models have them, by the files that they lie in."""

from __future__ import annotations

import copy
import json
from functools import cache

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from headwater.tokens.tokenizer.foreign import table_of

VOCAB_SIZE = 600  # rows of the model: more than the tokenizer has tokens
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = (
    "The river rises at its headwater, and it's 1,234 metres lower: über Ω 中文字 한국어 e\u0301. HTTPServer_x = f(y);\n"
    "\n    for each in range(100):\r\n\t\tprint('no')  \n \nsay <tool> and the end"
)


@cache
def table(pattern: str) -> dict:
    """A small tokenizer.json with this pattern: 3 special tokens, <tool>, which isn't called so, and a letter."""
    seed = table_of({"a": 0}, [], {}, pattern)
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = tokenizers.Tokenizer.from_str(json.dumps(seed)).pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    trained.train_from_iterator([TEXT] * 3, trainer)
    model = json.loads(trained.to_str())["model"]
    # as DeepSeek's do: the letter whose byte never is in UTF-8
    vocabulary = {token: id for token, id in model["vocab"].items() if token != "ø"}
    size = max(vocabulary.values()) + 1
    vocabulary |= {"<tool>": size, "ø": size + 1}
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    added = {**dict.fromkeys(SPECIAL, True), "<tool>": False, "ø": False}
    return table_of(vocabulary, merges, added, pattern, ignores_merges=pattern == "llama3")


def files_of(pattern: str = "gpt2", config: dict | None = None, **changes) -> dict[str, bytes]:
    content = copy.deepcopy(table(pattern)) | changes
    found = {"tokenizer.json": content, "tokenizer_config.json": config or {"eos_token": "<|endoftext|>"}}
    return {name: json.dumps(each).encode() for name, each in found.items()}
