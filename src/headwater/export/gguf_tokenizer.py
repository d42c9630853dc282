"""A tokenizer as the keys of a GGUF file, and the Modelfile beside it, by which ollama makes a model of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.core.errors import ExportError
from headwater.core.files import read_json
from headwater.export.hf_tokenizer import CHAT_TEMPLATE, load_tokenizer, template_beginning_with
from headwater.model.names import CONTROL, NORMAL, PRE_TOKENIZERS, UNUSED, USER_DEFINED
from headwater.model.settings import ModelSettings
from headwater.tokens.tokenizer.conversation import END
from headwater.tokens.tokenizer.foreign import chat_template
from headwater.tokens.tokenizer.tokenizer import Tokenizer

_CHATML = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_PLAIN = "{{ .Prompt }}"
_MODELFILE = '''\
# ollama create {name} -f Modelfile
FROM ./{file}
PARAMETER num_ctx {context}
{stops}TEMPLATE """{template}"""
'''


def tokenizer_keys(folder: Path, vocab_size: int, is_tuned: bool) -> dict[str, Any]:
    """Return the keys of a GGUF file that make llama.cpp read text as this tokenizer does, from the begin token on.

    Raises ExportError where it can't, or where the tokenizer has ids that the model has no row for.
    """
    tokenizer = load_tokenizer(folder, vocab_size)
    pattern = tokenizer.foreign.pattern if tokenizer.foreign else "qwen2"
    ignores_merges = tokenizer.foreign is not None and tokenizer.foreign.ignores_merges
    if ignores_merges != (pattern == "llama3"):
        does = "takes a word that is a token whole" if ignores_merges else "merges also a word that is a token"
        raise ExportError(f"{folder} cuts text as {pattern} and {does}; llama.cpp has no such tokenizer")
    table = read_json(folder / "tokenizer.json")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in table["model"]["merges"]]
    tokens, types = [f"[PAD{id}]" for id in range(vocab_size)], [UNUSED] * vocab_size
    for token, id in table["model"]["vocab"].items():
        tokens[id], types[id] = token, NORMAL
    for added in table["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], CONTROL if added["special"] else USER_DEFINED
    begin, end, pad = tokenizer.begin_id, tokenizer.end_id, tokenizer.pad_id
    ids = {"bos": begin, "eos": end, "padding": pad, "eot": _end_of_turn(tokenizer)}
    template = _template(tokenizer, folder, tokens[begin], is_tuned)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": PRE_TOKENIZERS[pattern],
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        **{f"tokenizer.ggml.{name}_token_id": id for name, id in ids.items() if id is not None},
        "tokenizer.ggml.add_bos_token": True,  # as in training
        **({} if template is None else {"tokenizer.chat_template": template}),
    }


def _end_of_turn(tokenizer: Tokenizer) -> int | None:
    roles = tokenizer.foreign.roles if tokenizer.foreign else {}
    return tokenizer.special.get(END, roles.get("eos_token"))


def _template(tokenizer: Tokenizer, folder: Path, begin: str, is_tuned: bool) -> str | None:
    """Return the template of the export for transformers, without its marks of what is learned, unknown elsewhere.

    None for a model that was tuned on no conversations, nor came from one with a template: readers take it for a chat.
    """
    if is_tuned:
        template = CHAT_TEMPLATE if tokenizer.foreign is None else template_beginning_with(begin)
        return template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    if tokenizer.foreign is None:
        return None
    return chat_template({path.name: path.read_bytes() for path in folder.iterdir()}) or None


def modelfile(file_name: str, model: ModelSettings, tokenizer: Mapping[str, Any], is_tuned: bool) -> str:
    """Return a Modelfile: the context, what ends an answer, and the template; a base's own is for ollama to know."""
    tokens = tokenizer["tokenizer.ggml.tokens"]
    ids = [tokenizer.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eos")]
    stops = "".join(f"PARAMETER stop {json.dumps(tokens[id])}\n" for id in dict.fromkeys(ids) if id is not None)
    template = _CHATML if is_tuned else _PLAIN
    name = file_name.removesuffix(".gguf").lower()
    return _MODELFILE.format(name=name, file=file_name, context=model.num_positions, stops=stops, template=template)
