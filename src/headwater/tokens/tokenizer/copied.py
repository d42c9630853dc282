"""The tokenizer of a base, as a run's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headwater.core.files import new_folder, no_check, stage_key, write_bytes, write_json
from headwater.tokens.tokenizer.foreign import FILES
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
