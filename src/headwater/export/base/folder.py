"""A Hugging Face folder to start from: its model's settings, its files, and its tokenizer's. No torch."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePath
from typing import Any

from headwater.core.errors import ConfigError
from headwater.tokens.tokenizer.foreign import FILES
from headwater.tokens.tokenizer.pattern import without_twins

MAX_BYTES = 64_000_000
INDEX_FILE = "model.safetensors.index.json"
_HEAD_BYTES = 1 << 16  # of a README: its head is its first lines
_MAX_LICENCE = 200  # characters of what a model says of its licence: a name, or an address


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, one or those of its index; raise ConfigError where there are none."""
    if (folder / "adapter_config.json").exists():
        raise ConfigError(f"{folder} holds an adapter, which changes the model; merge it into the weights first")
    if (folder / INDEX_FILE).exists():
        return [folder / name for name in sorted(set(weight_map(folder).values()))]
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    others = sorted(path.name for path in folder.glob("*.bin"))
    why = f"only {', '.join(others[:3])}, and reading a pickle may run code" if others else "and no other weights"
    raise ConfigError(f"{folder} has no model.safetensors ({why}); save it again with transformers' save_pretrained")


def weight_map(folder: Path) -> dict[str, str]:
    found = read_object(folder / INDEX_FILE).get("weight_map")
    if not isinstance(found, dict) or not found or not all(_is_file_name(name) for name in found.values()):
        raise ConfigError(f"{folder / INDEX_FILE} has no weight_map of names of files beside it")
    return found


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and PurePath(name).name == name and name.endswith(".safetensors")


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    """Return what the folder has of a tokenizer's files; raise ConfigError for one that can't be read."""
    try:
        return {name: read_bytes(folder / name) for name in FILES if (folder / name).exists()}
    except OSError as error:
        raise ConfigError(f"{folder}: a file of its tokenizer can't be read: {error.strerror}") from None


def licence_of(folder: Path) -> str:
    """Return the licence of a model with where that is said: the head of its README.md, config.json or a licence file.

    "" where nothing says it.
    """
    head = re.match(r"\s*---\s*?\n(.*?)\n---", _head(folder / "README.md"), re.DOTALL)
    fields = dict(re.findall(r"^(license|license_name):(.*)$", head[1] if head else "", re.MULTILINE))
    said = [fields.get(name, "").strip().strip("\"'") for name in ("license", "license_name")]
    in_config = read_object(folder / "config.json").get("license")
    files = [path.name for path in folder.iterdir() if re.fullmatch(r"(?i)(licen[cs]e|copying)(\.\w+)?", path.name)]
    return (
        said_licence(": ".join(filter(None, said)), "its README.md")
        or said_licence(in_config, "its config.json")
        or (f"that of its file {min(files)}" if files else "")
    )


def said_licence(licence: Any, where: str) -> str:
    """Return a licence with where it is said; "" of what isn't a text."""
    said = licence.strip()[:_MAX_LICENCE] if isinstance(licence, str) else ""
    return f"{said}, as {where} says" if said else ""


def _head(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD_BYTES).decode(errors="replace")
    except OSError:
        return ""


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a file; raise ConfigError that says what is wrong with it."""
    try:
        found = json.loads(read_bytes(path).decode(), object_pairs_hook=without_twins)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return found


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raise ConfigError where that is more than such a file may have, OSError as it comes."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes; it is not what its name says")
    return data
