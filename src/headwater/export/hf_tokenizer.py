"""The tokenizer's files in a Hugging Face folder, readable by transformers 4.57 and 5.

Two things differ from the tokenizer in training. The begin token is put before every text, so that a model fed by
`AutoTokenizer` sees what it saw in training. And text that spells a special token becomes that token, as everywhere
in that ecosystem (a chat template can't work otherwise); `tokenizer(text, split_special_tokens=True)` reads the
spelling as plain text, as training does: use it for text from strangers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import Sequence, TemplateProcessing

from headwater.core import files
from headwater.core.errors import ExportError, TokenizerError
from headwater.tokens.tokenizer.conversation import END
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID, PAD_ID, SPECIAL_IDS, SPECIAL_TOKENS
from headwater.tokens.tokenizer.tokenizer import Tokenizer as OwnTokenizer

# ChatML behind the begin token. The generation block marks what a chat model is trained to say (TRL's
# assistant_only_loss); it stands on one line, so that no reader's treatment of line ends adds a space to it.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
    {%- else %}{{ message['content'] + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
TOKEN_FIELDS = ("content", "lstrip", "normalized", "rstrip", "single_word")
SPECIAL_ROLES = {"bos_token": BEGIN_ID, "eos_token": END_ID, "pad_token": PAD_ID}


@dataclass(frozen=True)
class WrittenTokenizer:
    """What the rest of a folder says of its tokenizer.

    ids    of its roles
    ends   of the tokens that end a text: the end token, and the end of a message in a conversation
    card   lines of the model card
    is_of_base   whether it came with a base, with the chat template that this has
    """

    ids: dict[str, int]
    ends: list[int]
    card: str
    is_of_base: bool = False


_OWN_CARD = """\
- The tokenizer puts the begin token before every text, as in training.
- Text that spells a special token becomes that token. For text from strangers use
  `tokenizer(text, split_special_tokens=True)`, which reads the spelling as plain text, as training did.
"""
_NOT_TUNED = """\
- A chat template is set and its tokens are in the vocabulary; nothing that this run trained on has them.
"""
_TUNED = f"""\
- A message is `<|im_start|>`, its role, a line break, what is said, `{END}`, a line break: `chat_template.jinja`. The
  answer ends with `{END}`.
"""
_BASE_CARD = """\
- The tokenizer is the one of the model that training started from, file by file{but}.
- In training every text began with `{begin}` and ended with `{end}`. Text that spells a special token was read as text.
"""


def write_tokenizer(
    tokenizer_dir: Path, out_dir: Path, seq_len: int, vocab_size: int, is_tuned: bool = False
) -> WrittenTokenizer:
    """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and the chat template into `out_dir`.

    The tokenizer of a base is written as it came; where the model `is_tuned` on conversations, with the template that
    these were written by. Raises ExportError as `load_tokenizer` does.
    """
    checked = load_tokenizer(tokenizer_dir, vocab_size)
    if checked.foreign is not None:
        return _write_foreign(checked, tokenizer_dir, out_dir, is_tuned)
    tokenizer = Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))
    roles = {name: SPECIAL_TOKENS[id] for name, id in SPECIAL_ROLES.items()}
    _add_begin_token_(tokenizer, roles["bos_token"], BEGIN_ID)
    files.write_text(out_dir / "tokenizer.json", tokenizer.to_str(pretty=False))
    files.write_json(out_dir / "tokenizer_config.json", _config(tokenizer, roles, seq_len))
    files.write_json(out_dir / "special_tokens_map.json", roles)
    files.write_text(out_dir / "chat_template.jinja", CHAT_TEMPLATE)
    ids = {f"{name}_id": id for name, id in SPECIAL_ROLES.items()}
    return WrittenTokenizer(ids, [END_ID, SPECIAL_IDS[END]], _OWN_CARD + (_TUNED if is_tuned else _NOT_TUNED))


def load_tokenizer(folder: Path, vocab_size: int) -> OwnTokenizer:
    """Return a tokenizer, checked; raise ExportError where it is none, or has ids that the model has no row for."""
    try:
        tokenizer = OwnTokenizer.load(folder)
    except TokenizerError as error:
        raise ExportError(str(error)) from None
    if tokenizer.vocab_size > vocab_size:
        raise ExportError(
            f"{folder} has {tokenizer.vocab_size} tokens and the model has {vocab_size}; "
            "it is not the tokenizer of this model"
        )
    return tokenizer


def _write_foreign(tokenizer: OwnTokenizer, tokenizer_dir: Path, out_dir: Path, is_tuned: bool) -> WrittenTokenizer:
    for name in tokenizer.manifest["files"]:
        files.write_bytes(out_dir / name, (tokenizer_dir / name).read_bytes())
    named = {id: name for name, id in tokenizer.special.items()}
    if is_tuned:
        begin = named[tokenizer.begin_id]
        template = template_beginning_with(begin)
        files.write_text(out_dir / "chat_template.jinja", template)
        if (config := out_dir / "tokenizer_config.json").exists():
            files.write_json(config, {**files.read_json(config), "chat_template": template})
    ids = {f"{name}_id": id for name, id in tokenizer.manifest["roles"].items() if id is not None}
    but = ", but for the chat template" if is_tuned else ""
    card = _BASE_CARD.format(but=but, begin=named[tokenizer.begin_id], end=named[tokenizer.end_id])
    card += _TUNED if is_tuned else ""
    ends = [tokenizer.manifest["roles"]["eos_token"], tokenizer.special.get(END), tokenizer.end_id]
    return WrittenTokenizer(ids, [id for id in dict.fromkeys(ends) if id is not None], card, True)


def template_beginning_with(token: str) -> str:
    """Return the chat template for a tokenizer that may call none its bos_token."""
    return CHAT_TEMPLATE.replace("bos_token", json.dumps(token), 1)


def _add_begin_token_(tokenizer: Tokenizer, begin: str, begin_id: int) -> None:
    with_begin = TemplateProcessing(single=f"{begin} $A", pair=f"{begin} $A $B:1", special_tokens=[(begin, begin_id)])
    own = tokenizer.post_processor
    tokenizer.post_processor = with_begin if own is None else Sequence([own, with_begin])
    tokenizer.no_padding()
    tokenizer.no_truncation()


def _config(tokenizer: Tokenizer, roles: dict[str, str], seq_len: int) -> dict[str, Any]:
    special = {id: token for id, token in sorted(tokenizer.get_added_tokens_decoder().items()) if token.special}
    others = [token.content for token in special.values() if token.content not in roles.values()]
    return {
        # transformers 5 writes TokenizersBackend here, which 4.57 does not know
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
        "additional_special_tokens": others,
        "added_tokens_decoder": {
            str(id): {**{name: getattr(token, name) for name in TOKEN_FIELDS}, "special": True}
            for id, token in special.items()
        },
        # without it transformers 4.57 also returns token_type_ids, which the models refuse
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": seq_len,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
