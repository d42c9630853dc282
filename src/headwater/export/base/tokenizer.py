"""The tokenizer of a base, as a run's own. No torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headwater.core.files import new_folder, no_check, stage_key, write_bytes, write_json
from headwater.export.base.facts import BaseFacts
from headwater.export.base.folder import tokenizer_files
from headwater.export.base.gguf import GgufFile
from headwater.tokens.tokenizer.conversation import is_chat_form
from headwater.tokens.tokenizer.foreign import FILES, write_foreign
from headwater.tokens.tokenizer.tokenizer import Tokenizer

STAGE_VERSION = 1


def copied_key(base_digest: str) -> str:
    """Return the key of the tokenizer that belongs to the base of this digest."""
    return stage_key("tokenizer of a base", STAGE_VERSION, {}, {"base": base_digest})


def copy_tokenizer(folder: Path, out_dir: Path, key: str, before_commit: Callable[[], None] = no_check) -> None:
    """Write the tokenizer of `folder` as one of this key; raise TokenizerError where it is damaged."""
    tokenizer = Tokenizer.load(folder)
    names = tokenizer.manifest["files"] if tokenizer.foreign else ["tokenizer.json"]
    data = {name: (folder / name).read_bytes() for name in FILES if name in names}
    with new_folder(out_dir, replace=True, before_commit=before_commit) as copy:
        for name, content in data.items():
            write_bytes(copy / name, content)
        write_json(copy / "manifest.json", {**tokenizer.manifest, "key": key})


def write_tokenizer(base: BaseFacts, out_dir: Path, key: str, before_commit: Callable[[], None] = no_check) -> None:
    """Write the base's tokenizer as one of this key; raise ConfigError or TokenizerError where it is none we know."""
    if base.kind == "checkpoint":
        copy_tokenizer(base.tokenizer, out_dir, key, before_commit)
    else:
        write_foreign(_files(base), base.vocab_size, out_dir, key, before_commit)


def tokenizer_of(base: BaseFacts) -> Tokenizer:
    """Return the tokenizer of a base, from its own files where it is none of headwater's."""
    if base.kind == "checkpoint":
        return Tokenizer.load(base.tokenizer)
    return Tokenizer.of_files(_files(base), base.vocab_size)


def has_chat_form(base: BaseFacts) -> bool:
    """Return whether a foreign base was made to answer messages as they are written here: by its chat template."""
    return base.origins[-1].answers and is_chat_form(_files(base))


def _files(base: BaseFacts) -> dict[str, bytes]:
    is_folder = base.kind == "folder"
    return tokenizer_files(base.tokenizer) if is_folder else GgufFile(base.tokenizer).tokenizer_files()
