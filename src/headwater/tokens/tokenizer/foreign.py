"""A public tokenizer: byte-level BPE as models of Hugging Face have it, where its way to cut text is one of a list.

Only equality with the list makes sure that every text is encoded, in a known time, and that a long one may be cut into
parts (`cut`). SentencePiece is another kind, and is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tokenizers

from headwater.core.errors import TokenizerError
from headwater.core.files import digest_bytes, digest_json, new_folder, write_bytes, write_json
from headwater.tokens.tokenizer.pattern import (
    BYTES_AS_CHARACTERS,
    QWEN2_PATTERN,
    Step,
    byte_of_character,
    split_at,
    steps_of,
    without_twins,
)
from headwater.tokens.tokenizer.settings import Markers

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"What is kept of a tokenizer, and handed on by an export; the first must be there."
GPT2_WORDS: Step = ("ByteLevel", False, True)
_CHINESE = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_CHINESE_OR_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
# beside A-Za-z, in hexadecimal: some of these look like others, and would change with the form of this file's text
_LETTERS = """
    b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5
    3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a
    1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe
    1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d
    2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee
    2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a
    ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943
"""
_V3_WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)


def _characters(ranges: str) -> str:
    """Return ranges of code points as a class of an expression has them."""
    return "".join("-".join(chr(int(end, 16)) for end in each.split("-")) for each in ranges.split())


PATTERNS: dict[str, list[Step]] = {
    "gpt2": [GPT2_WORDS],
    "smollm": [("Digits", True), GPT2_WORDS],
    "qwen2": [split_at(QWEN2_PATTERN), BYTES_AS_CHARACTERS],
    "llama3": [split_at(QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")), BYTES_AS_CHARACTERS],
    "deepseek-llm": [
        split_at("[\r\n]"),
        split_at(rf"\s?[A-Za-z{_characters(_LETTERS)}]+"),
        split_at(rf"\s?[!-/:-~{_characters('ff01-ff0f ff1a-ff5e 2018-201f 3000-3002')}]+"),
        split_at(r"\s+$"),
        split_at(_CHINESE),
        ("Digits", True),
        BYTES_AS_CHARACTERS,
    ],
    "deepseek-coder": [
        split_at("[\r\n]"),
        split_at(r"\s?\p{L}+"),
        split_at(r"\s?\p{P}+"),
        split_at(_CHINESE),
        ("Digits", True),
        BYTES_AS_CHARACTERS,
    ],
    "deepseek-v3": [
        split_at(r"\p{N}{1,3}"),
        split_at(_CHINESE_OR_KANA),
        split_at(_V3_WORDS),
        BYTES_AS_CHARACTERS,
    ],
}
LONE_LINE_ENDS = frozenset({"gpt2", "smollm"})
"Patterns that look behind a line end for more white space, so that text may be cut behind a line end by itself alone."
_POST_PROCESSORS = {None, "ByteLevel", "TemplateProcessing", "Sequence"}
_END_NAMES = ("<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "</s>")
_BEGIN_NAMES = ("<|begin_of_text|>", "<｜begin▁of▁sentence｜>", "<s>")
_ROLES = ("bos_token", "eos_token", "pad_token")
_IN_UTF8 = {*range(0xC0), *range(0xC2, 0xF5)}
_RARE = {*range(0x20), 0x7F, *range(0xF1, 0xF5)} - set(b"\t\n\r")
_IN_BRACKETS = re.compile(r"[<\[|].*[>\]|]", re.DOTALL)


@dataclass(frozen=True)
class Foreign:
    """What headwater needs to know of a public tokenizer.

    `special` are the tokens that no text becomes: those that it calls special, and those in brackets that it doesn't,
    such as <think>. `letters` are single characters that it reads before all else. `roles` are the ids of bos_token,
    eos_token and pad_token, None where it has none, and `markers` the ids that begin and end a document here.
    `lost_bytes` are those of control characters and of planes of Unicode without text that have no token: the library
    reads them as its unk_token, which may be one that ends a text; here they are dropped.
    """

    pattern: str
    is_nfc: bool
    ignores_merges: bool
    special: dict[str, int]
    letters: dict[str, int]
    roles: dict[str, int | None]
    markers: Markers
    lost_bytes: tuple[int, ...]


def write_foreign(
    files: Mapping[str, bytes],
    vocab_size: int,
    out_dir: Path,
    key: str,
) -> dict[str, Any]:
    """Write a public tokenizer's files as the tokenizer of a model with `vocab_size` rows; return the manifest.

    Raises TokenizerError when it is none of those that are understood, or has ids that the model has no row for.
    """
    kept = {name: files[name] for name in FILES if name in files}
    manifest = {**foreign_manifest(kept, vocab_size, read_foreign(kept, vocab_size)), "key": key}
    with new_folder(out_dir, replace=True) as folder:
        for name, data in kept.items():
            write_bytes(folder / name, data)
        write_json(folder / "manifest.json", manifest)
    return manifest


def foreign_manifest(files: Mapping[str, bytes], vocab_size: int, found: Foreign) -> dict[str, Any]:
    """Return the manifest, but for its key, of a tokenizer folder with these files."""
    digests = {name: digest_bytes(data) for name, data in files.items()}
    what = {"vocab_size": vocab_size, "special": found.special, "markers": asdict(found.markers), "files": digests}
    return {
        "format": "headwater-tokenizer",
        "format_version": 1,
        "digest": digest_json(what),
        **what,
        "pattern": found.pattern,
        "normalizer": "NFC" if found.is_nfc else None,
        "lost_bytes": list(found.lost_bytes),
        "roles": found.roles,
    }


def read_foreign(files: Mapping[str, bytes], vocab_size: int) -> Foreign:
    """Return what is known of a public tokenizer; raise TokenizerError that says in what it isn't understood."""
    try:
        return _read(files, vocab_size)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TokenizerError(f"its tokenizer.json is damaged ({error!r:.100})") from None


def _read(files: Mapping[str, bytes], vocab_size: int) -> Foreign:
    table, config = _object(files, "tokenizer.json"), _config(files)
    if not table:
        raise TokenizerError("it has no tokenizer.json; save it again with transformers' save_pretrained")
    model = table.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise TokenizerError("it is SentencePiece, or no BPE at all, which headwater can't encode exactly")
    pattern = _pattern(table, model)
    is_nfc = _is_nfc(table.get("normalizer"))
    special, letters = _added(table)
    _check_ids(model["vocab"], special, letters, vocab_size)
    roles = {name: special.get(_content(config.get(name))) for name in _ROLES}
    return Foreign(
        pattern=pattern,
        is_nfc=is_nfc,
        ignores_merges=bool(model.get("ignore_merges")),
        special=special,
        letters=letters,
        roles=roles,
        markers=_markers(table, config, special),
        lost_bytes=_lost_bytes(model["vocab"]),
    )


def encoder_of(files: Mapping[str, bytes], found: Foreign) -> tokenizers.Tokenizer:
    """Return the library's encoder of text: without a normalizer, and with no token of `special` in reach of text."""
    table = _object(files, "tokenizer.json")
    for token in table.get("added_tokens") or []:
        token["special"] = token["content"] in found.special
    table |= {"normalizer": None, "post_processor": None, "truncation": None, "padding": None}
    table["model"]["unk_token"] = None
    encoder = tokenizers.Tokenizer.from_str(json.dumps(table))
    encoder.encode_special_tokens = True
    for content, id in {**found.special, **found.letters}.items():
        if encoder.token_to_id(content) != id:
            raise TokenizerError(f"its token {content!r} has id {id}, and the library gives it another; it is damaged")
    vocabulary, alphabet = table["model"]["vocab"], byte_of_character()
    joined = {"".join(merge if isinstance(merge, list) else merge.split(" ")) for merge in table["model"]["merges"]}
    for content in found.special.keys() & vocabulary.keys():
        is_piece = len(encoder.pre_tokenizer.pre_tokenize_str(content)) < 2
        if content in alphabet or content in joined or (found.ignores_merges and is_piece):
            raise TokenizerError(f"text can become its special token {content!r}, which headwater doesn't allow")
    return encoder


def table_of(
    vocabulary: Mapping[str, int],
    merges: Sequence[str],
    added: Mapping[str, bool],
    pattern: str,
    *,
    ignores_merges: bool = False,
) -> dict[str, Any]:
    """Return the `tokenizer.json` of a vocabulary; `added` says of each added token whether it is special."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[token], "content": token, **flags, "special": special}
            for token, special in sorted(added.items(), key=lambda entry: vocabulary[entry[0]])
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_step_table(step) for step in PATTERNS[pattern]]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignores_merges,
            "vocab": dict(vocabulary),
            "merges": list(merges),
        },
    }


def _step_table(step: Step) -> dict[str, Any]:
    kind, *rest = step
    if kind == "Split":
        return {"type": kind, "pattern": {"Regex": rest[0]}, "behavior": rest[1], "invert": rest[2]}
    if kind == "Digits":
        return {"type": kind, "individual_digits": rest[0]}
    return {"type": kind, "add_prefix_space": rest[0], "trim_offsets": True, "use_regex": rest[1]}


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Return the object in one of the files, {} where there is none."""
    if name not in files:
        return {}
    try:
        found = json.loads(files[name].decode(), object_pairs_hook=without_twins)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"its {name} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise TokenizerError(f"its {name} holds no JSON object")
    return found


def _config(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {**_object(files, "special_tokens_map.json"), **_object(files, "tokenizer_config.json")}


def chat_template(files: Mapping[str, bytes]) -> str:
    """Return the template of messages among a tokenizer's files; of several the default one; "" where there is none."""
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode(errors="replace")
    found = _config(files).get("chat_template")
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def _pattern(table: dict[str, Any], model: dict[str, Any]) -> str:
    """Return the name of the pattern by which it cuts text."""
    if model.get("byte_fallback") or "Metaspace" in json.dumps(table.get("pre_tokenizer")):
        raise TokenizerError("it is SentencePiece (▁ for a space, byte fallback), which headwater can't encode exactly")
    if model.get("type") not in (None, "BPE") or not isinstance(model.get("merges"), list):
        raise TokenizerError(f"its model is {model.get('type')!r}, not BPE")
    names = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    options = [name for name in names if model.get(name)]
    decoder = table.get("decoder")
    if not isinstance(decoder, dict) or decoder.get("type") != "ByteLevel":
        options.append("a decoder that isn't ByteLevel")
    kinds = {_kind(each) for each in _post_processors(table)}
    options += [f"the post-processor {name}" for name in sorted(str(kind) for kind in kinds - _POST_PROCESSORS)]
    if options:
        raise TokenizerError(f"it has {', '.join(options)}, which headwater doesn't know")
    found = steps_of(table.get("pre_tokenizer"))
    name = next((name for name, steps in PATTERNS.items() if steps == found), None)
    if name is None:
        raise TokenizerError(f"it cuts text by a pattern that isn't among those known: {', '.join(PATTERNS)}")
    return name


def _kind(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def _post_processors(table: dict[str, Any]) -> list[Any]:
    whole = table.get("post_processor")
    inner = whole.get("processors") if isinstance(whole, dict) else None
    return [whole, *(inner if isinstance(inner, list) else [])]


def _is_nfc(normalizer: Any) -> bool:
    if normalizer is None or (_kind(normalizer) == "Sequence" and not normalizer.get("normalizers")):
        return False
    if normalizer == {"type": "NFC"}:
        return True
    raise TokenizerError(f"it changes text before it encodes it ({_kind(normalizer)}), which headwater doesn't know")


def _added(table: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the added tokens by their ids: those that no text becomes, and single characters, which text does."""
    special, letters = dict[str, int](), dict[str, int]()
    for token in table.get("added_tokens") or []:
        content, id = token.get("content"), token.get("id")
        if not isinstance(content, str) or not content or not isinstance(id, int) or isinstance(id, bool) or id < 0:
            raise TokenizerError("one of its added tokens has no content or no id")
        if token.get("special") is True or _IN_BRACKETS.fullmatch(content):
            special[content] = id
        elif len(content) == 1 and not any(token.get(name) for name in ("lstrip", "rstrip", "single_word")):
            letters[content] = id
        else:
            raise TokenizerError(f"its added token {content!r} is read in text before all else, and isn't a character")
    return special, letters


def _check_ids(vocabulary: dict[str, Any], special: dict[str, int], letters: dict[str, int], vocab_size: int) -> None:
    ids = [*vocabulary.values(), *special.values(), *letters.values()]
    if not all(isinstance(id, int) and not isinstance(id, bool) and id >= 0 for id in ids):
        raise TokenizerError("one of its tokens has no id")
    if max(ids, default=0) >= vocab_size:
        largest = max({**vocabulary, **special, **letters}.items(), key=lambda entry: entry[1])
        raise TokenizerError(
            f"it has {largest[0]!r} at id {largest[1]}, and the model has rows for {vocab_size} tokens; "
            "it is not the tokenizer of this model"
        )
    plain = {token: id for token, id in vocabulary.items() if token not in special and token not in letters}
    if len({*plain.values(), *special.values(), *letters.values()}) < len(plain) + len(special) + len(letters):
        raise TokenizerError("two of its tokens have the same id")


def _lost_bytes(vocabulary: dict[str, Any]) -> tuple[int, ...]:
    """Return the bytes of UTF-8 without a token; raise TokenizerError for one that text needs."""
    byte_of = byte_of_character()
    lost = sorted(byte for character, byte in byte_of.items() if character not in vocabulary and byte in _IN_UTF8)
    if needed := [byte for byte in lost if byte not in _RARE]:
        raise TokenizerError(f"it has no token for {len(needed)} of the bytes of text, such as {needed[0]:#04x}")
    return tuple(lost)


def _content(token: Any) -> str:
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def _markers(table: dict[str, Any], config: dict[str, Any], special: dict[str, int]) -> Markers:
    """Return what begins and ends a document.

    An instruct model's eos_token ends a turn, so the token for the end of a text is looked for by its usual names
    first. One begins a document that the tokenizer puts before every text, or that is called so; else the end of text.
    """
    begin_name, end_name, pad_name = (_content(config.get(name)) for name in _ROLES)
    end = next((special[name] for name in _END_NAMES if name in special), special.get(end_name))
    if end is None:
        raise TokenizerError("it has no token for the end of a text: no eos_token, and none of the usual names")
    if end_name in _END_NAMES and end_name in special:
        end = special[end_name]
    is_put_first = (_first_of_template(table) == begin_name or config.get("add_bos_token") is True) and begin_name
    begin = special.get(begin_name) if is_put_first or begin_name in _BEGIN_NAMES else None
    return Markers(end if begin is None else begin, end, special.get(pad_name, end))


def _first_of_template(table: dict[str, Any]) -> str | None:
    for part in _post_processors(table):
        if _kind(part) == "TemplateProcessing" and isinstance(part.get("single"), list) and part["single"]:
            first = part["single"][0].get("SpecialToken")
            return first.get("id") if isinstance(first, dict) else None
    return None
