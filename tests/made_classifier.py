"""A tiny classifier of transformers, of random weights, for tests that ask one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ALPHABET = "abcdefghijklmnopqrstuvwxyz.,!"


def make_classifier(folder: Path, labels: list[str], seed: int = 0, **config: Any) -> Path:
    """Write a model of one output, or of several labels, with a tokenizer of letters and a few words."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "river", "mill", "the", *ALPHABET, *(f"##{each}" for each in ALPHABET)]
    vocab = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    torch.manual_seed(seed)
    of_labels = {"id2label": dict(enumerate(labels)), "label2id": {name: at for at, name in enumerate(labels)}}
    settings = {"vocab_size": len(vocab), "max_position_embeddings": 64, "initializer_range": 0.5}
    BertForSequenceClassification(BertConfig(**sizes, **settings, **of_labels, **config)).save_pretrained(folder)
    return folder
