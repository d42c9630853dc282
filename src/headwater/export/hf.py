"""A Hugging Face folder: the model as transformers, vLLM, TRL and converters to GGUF read it, without custom code.

It loads in transformers 4.57 and 5. The configuration is written here and not by transformers, because what version 5
writes is misread by 4.57: it takes rope_theta = 10000 without a word and refuses the tokenizer's class. Weights are
under the names and in the layouts of `model.names`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import Sequence, TemplateProcessing
from torch import Tensor

from headwater.core import files
from headwater.core.errors import ExportError, TokenizerError
from headwater.core.files import DigestedFile, write_json
from headwater.core.records import table
from headwater.export.base.config import Dtype, config_of_settings
from headwater.export.data_card import markdown
from headwater.export.hf_card import CardFacts, write_card
from headwater.model.names import Rule, rules, shapes, their_shapes
from headwater.model.settings import ModelSettings
from headwater.tokens.tokenizer.conversation import END
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID, PAD_ID, SPECIAL_IDS, SPECIAL_TOKENS
from headwater.tokens.tokenizer.tokenizer import Tokenizer as OwnTokenizer
from headwater.train.checkpoint.tensor_file import write_tensors

FORMAT, FORMAT_VERSION = "headwater-export-hf", 1
MAX_FILE_BYTES = 5 * 10**9  # of weights; more are written as several numbered files


def export_hf(
    state: Mapping[str, Tensor],
    model: ModelSettings,
    tokenizer_dir: Path,
    out_dir: Path,
    *,
    dtype: Dtype = "float32",
    card: CardFacts | None = None,
    data_card: Mapping[str, Any] | None = None,
    key: str = "",
    weights_key: str = "",
    max_file_bytes: int = MAX_FILE_BYTES,
    is_tuned: bool = False,
) -> None:
    """Write the model as a folder that AutoModelForCausalLM and AutoTokenizer load offline.

    `state` has every parameter by its name in our model, each looked up once, when it is written, into files of at most
    `max_file_bytes`; `card` is what the model card says of it (hf_card); the `data_card` (runs.stages) is written as
    DATA_CARD.md and data_card.json; `key` says what the export was made from (manifests.is_current), `weights_key` what
    its weights were: an earlier export's of the same key are kept; `is_tuned`: on conversations. The folder appears
    complete or not at all, and replaces an earlier export only.
    Raises ExportError when a parameter is missing or left over, when the tokenizer is not the model's, or when
    something else is at `out_dir`.
    """
    require_ours(out_dir, FORMAT)
    with files.new_folder(out_dir, replace=True) as folder:
        tokenizer = write_tokenizer(tokenizer_dir, folder, model.num_positions, model.vocab_size, is_tuned)
        files.write_json(folder / "config.json", {**config_of_settings(model, dtype), **tokenizer.ids})
        known = _shared_weights(out_dir, folder, weights_key)
        known = known or write_weights(folder, state, model, getattr(torch, dtype), max_file_bytes)
        ends = {"eos_token_id": tokenizer.ends} if tokenizer.ends != [tokenizer.ids.get("eos_token_id")] else {}
        files.write_json(folder / "generation_config.json", tokenizer.ids | ends)
        if data_card is not None:
            files.write_json(folder / "data_card.json", data_card)
            files.write_text(folder / "DATA_CARD.md", markdown(data_card))
        digests = {path.name: known.get(path.name) or files.digest_file(path) for path in sorted(folder.iterdir())}
        keys = {"key": key, "weights_key": weights_key}
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **keys, "files": digests}
        if is_tuned or not tokenizer.is_of_base:  # a base's own template says what it was made for
            manifest["is_tuned"] = is_tuned
        files.write_json(folder / "manifest.json", manifest)
        # no digest: a card is there to be edited
        write_card(folder, model, card or CardFacts(), tokenizer.card, is_tuned)


def _shared_weights(out_dir: Path, folder: Path, weights_key: str) -> dict[str, str]:
    """Give an export the files of an earlier one's weights, if they are these; return each one's digest, else {}."""
    manifest = files.read_manifest_or_none(out_dir)
    if not weights_key or manifest.get("weights_key") != weights_key:
        return {}
    digests = {name: digest for name, digest in table(manifest, "files").items() if ".safetensors" in name}
    found = [path for path in out_dir.glob("*.safetensors*") if path.is_file()]  # by what is there: a manifest may lie
    if {path.name: files.digest_file(path) for path in found} != digests:
        return {}
    for path in found:
        files.share_file(path, folder / path.name)
    return digests


def require_ours(out_dir: Path, format: str) -> None:
    """Raise ExportError where something is at `out_dir` that is no earlier export of this format."""
    if not out_dir.exists() or files.read_manifest_or_none(out_dir).get("format") == format:
        return
    if not out_dir.is_dir() or any(out_dir.iterdir()):
        raise ExportError(f"{out_dir} exists and is no export of headwater; move it away or choose another folder")


INDEX_FILE = "model.safetensors.index.json"


def write_weights(
    folder: Path, state: Mapping[str, Tensor], model: ModelSettings, dtype: torch.dtype, max_file_bytes: int
) -> dict[str, str]:
    """Write the tensors of a transformers model of the same family, equal to `state`; return each file's digest.

    That is model.safetensors, or, where that would have more than `max_file_bytes`, numbered files and their index.
    One tensor at a time is in memory, with the parameters that it is made of, as far as `state` reads each where it is
    looked up. Raises ExportError naming every parameter that is missing, left over, or not of the shape the settings
    give: a model that lacks one loads elsewhere without a word and talks nonsense.
    """
    rule_of = {rule.theirs: rule for rule in rules(model)}
    parameter, their = parameters_of(state, model, rule_of.values()), their_shapes(model, rule_of.values())
    theirs = {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in their.items()}
    digests, files = dict[str, str](), _divided(theirs, max_file_bytes)
    for file_name, names in files.items():
        with DigestedFile(folder / file_name) as file:
            tensors = {name: theirs[name] for name in names}
            write_tensors(file, tensors, {"format": "pt"}, lambda name: made_of(rule_of[name], parameter).to(dtype))
        digests[file_name] = file.digest
    if len(files) > 1:
        places = {name: file_name for file_name, names in files.items() for name in names}
        total = sum(tensor.nbytes for tensor in theirs.values())
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})
    return digests


def made_of(rule: Rule, parameter: Callable[[str], Tensor]) -> Tensor:
    """Return a tensor of theirs; `parameter` returns ours by name."""
    if not rule.ours:
        return torch.zeros(rule.width)
    parts = [parameter(name) for name in rule.ours]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    if rule.paired_head_dim is not None:
        joined = joined.unflatten(0, (-1, 2, rule.paired_head_dim // 2)).transpose(1, 2).flatten(0, 2)
    return joined.T if rule.is_transposed else joined


def _divided(tensors: Mapping[str, Tensor], max_bytes: int) -> dict[str, list[str]]:
    """Return which tensors lie in which file, in their order, each file as full as `max_bytes` allow."""
    parts, filled = list[list[str]](), max_bytes
    for name, tensor in tensors.items():
        filled += tensor.nbytes
        if filled > max_bytes:  # one that is larger by itself has a file of its own
            parts.append([])
            filled = tensor.nbytes
        parts[-1].append(name)
    if len(parts) == 1:
        return {"model.safetensors": parts[0]}
    return {f"model-{number:05d}-of-{len(parts):05d}.safetensors": names for number, names in enumerate(parts, 1)}


def parameters_of(
    state: Mapping[str, Tensor], model: ModelSettings, rules: Collection[Rule]
) -> Callable[[str], Tensor]:
    """Return what gives a parameter by its name, each looked up when it is asked for.

    Raises ExportError naming every parameter of the rules that is missing, or left over; then one of another shape.
    """
    _check_complete(state, rules)
    expected = shapes(model)

    def parameter(name: str) -> Tensor:
        found, shape = state[name], expected[name]
        if found.shape != shape:
            raise ExportError(
                f"{name} is {tuple(found.shape)} and the settings say {shape}; "
                "the weights and the settings come from different runs"
            )
        return found

    return parameter


def _check_complete(state: Mapping[str, Tensor], rules: Collection[Rule]) -> None:
    needed = [name for rule in rules for name in rule.ours]
    assert len(needed) == len(set(needed)), "a parameter is in two rules"
    there = set(state)  # looking a name up would read its tensor
    missing = [name for name in needed if name not in there]
    left_over = sorted(there - set(needed))
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += [f"without a place there: {', '.join(left_over)}"] if left_over else []
    if problems:
        raise ExportError(
            "the parameters are not those of the model's family, so the export would be another model; "
            f"{'; '.join(problems)}; check family and tied_embeddings against the checkpoint"
        )


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
