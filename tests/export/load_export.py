"""Load exported folders with whatever transformers is on the path and say what came out, as JSON.

Run by test_hf.py in processes of their own, one for each major version: python load_export.py CASES.json
"""

from __future__ import annotations

import json
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(folder: str) -> dict:
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    expected = load_file(folder + "-expected.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("The river", return_tensors="pt")
    with torch.inference_mode():
        logits = model.eval()(expected["tokens_BT"]).logits.float()
        continued = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    return {
        "class": type(model).__name__,
        "dtype": str(model.dtype),
        "max_difference": (logits - expected["logits_BTV"]).abs().max().item(),
        "not_loaded": sorted(map(str, [*loading["missing_keys"], *loading["unexpected_keys"]])),
        "inputs": sorted(inputs),
        "num_continued": continued.shape[1] - inputs["input_ids"].shape[1],
    }


def tokenize(folder: str, texts: list[str], messages: list[dict]) -> dict:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True, tokenize=True)
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return {
        "ids": ids,
        "plain_ids": [tokenizer(text, split_special_tokens=True)["input_ids"] for text in texts],
        "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids],
        "decoded_with_special": [tokenizer.decode(row) for row in ids],
        "pair": tokenizer("a", "b")["input_ids"],
        "special": [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id],
        "max_length": tokenizer.model_max_length,
        "chat_text": tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True),
        "chat_ids": chat["input_ids"],
        "chat_mask": chat["assistant_masks"],
    }


def main() -> None:
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    transformers.logging.set_verbosity_error()
    report = {
        "version": transformers.__version__,
        "models": {name: load(folder) for name, folder in cases["folders"].items()},
        "tokenizer": tokenize(next(iter(cases["folders"].values())), cases["texts"], cases["messages"]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
