"""What a run starts from: the settings, the tokenizer and the digest of a model that exists. No torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import ValidationError
from xxhash import xxh3_128

from headwater.core.errors import CheckpointError, ConfigError, TokenizerError
from headwater.core.files import digest_json, new_folder, read_manifest_or_none, stage_key, write_bytes, write_json
from headwater.export.base.config import settings_of_config
from headwater.export.base.gguf import GgufFile
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.tokens.tokenizer.conversation import is_chat_form
from headwater.tokens.tokenizer.foreign import FILES, foreign_manifest, read_foreign, write_foreign
from headwater.tokens.tokenizer.pattern import without_twins
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import MODEL, checkpoint_of, list_checkpoints, step_of
from headwater.train.checkpoint.origins import Origin, Origins, origins_of
from headwater.train.checkpoint.verify import checked_manifest, read_state

FOREIGN = "a folder of Hugging Face with config.json and safetensors, or a file named .gguf"
_PART_BYTES, _MOST_PARTS = (
    1 << 20,
    2048,
)  # of 2 GiB every byte is read, in a second; a file may have a hundred times that
_LEAST_BYTES = 2  # of a weight in safetensors: those of smaller types are refused


@dataclass(frozen=True)
class BaseFacts:
    """A model to start from.

    path        as it was named
    kind        where its weights are: in a checkpoint of headwater's, a Hugging Face folder, or a GGUF file
    weights     that checkpoint's folder, that folder or that file
    tokenizer   the folder or the file that holds its tokenizer
    vocab_size  the tokenizer's, which the embedding of `model` has rows for, or more
    digest      of its weights and its tokenizer; of files above 2 GiB, of 2,048 parts of a MiB each
    trained     how it was trained, as a checkpoint says: optim, schedule, train …; {} where nothing does
    origins     what it was made of, itself last
    """

    path: str
    kind: Literal["checkpoint", "folder", "gguf"]
    weights: Path
    tokenizer: Path
    model: ModelSettings
    vocab_size: int
    digest: str
    trained: Mapping[str, Any] = field(default_factory=dict)
    origins: Origins = ()


def facts_of(path: str) -> BaseFacts:
    """Return the facts of the model at `path`.

    That is a run folder (its newest checkpoint), a checkpoint's folder, a folder of Hugging Face or a GGUF file.
    Raises ConfigError when there is none, when it is damaged, or when anything in it isn't understood.
    """
    folder = Path(path)
    if not folder.exists():
        made = f"`headwater run {folder.name}` makes it; or " if folder.parent.name == "runs" else ""
        raise ConfigError(f"{path}: there is nothing; {made}name a run folder or a checkpoint's, {FOREIGN}")
    if (checkpoints := list_checkpoints(folder)) or step_of(folder) is not None:
        return _of_checkpoint(path, checkpoints[0][1] if checkpoints else folder)
    if _is_run(folder):
        checkpoint_of(folder)  # says that it has none
    if is_foreign(folder):
        return _read_foreign(path, _signature(sorted(folder.iterdir()) if folder.is_dir() else [folder]))
    raise ConfigError(
        f"{path} is not a model: a run folder has checkpoints/ with at least one in it, a checkpoint's is named "
        f"step-…; or name {FOREIGN}"
    )


def is_foreign(path: Path) -> bool:
    """Return whether a path names a model of other people's: a folder of Hugging Face, or a GGUF file.

    Raises ConfigError for a folder whose config.json can't be read.
    """
    if os.path.isfile(path):
        return path.suffix == ".gguf"
    return (
        not _is_run(path) and os.path.isfile(path / "config.json") and "model_type" in read_object(path / "config.json")
    )


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run's, whatever is in its config.json."""
    return os.path.isfile(folder / "records.jsonl") or (folder / "checkpoints").is_dir()


def _of_checkpoint(path: str, folder: Path) -> BaseFacts:
    tokenizer = folder.resolve().parents[1] / "data" / "tokenizer"
    manifest = read_manifest_or_none(tokenizer)
    if "digest" not in manifest:
        raise ConfigError(f"{path} has no tokenizer: there is none in {tokenizer}, where its run keeps it")
    try:
        trained = read_state(folder)["identity"]
        tensors = checked_manifest(folder)["tensors"]
        model, origins = ModelSettings.model_validate(trained["model"]), origins_of(folder)
    except (CheckpointError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"{path} can't be started from: {error}") from None
    digests = {name: entry["digest"] for name, entry in tensors.items() if name.startswith(f"{MODEL}.")}
    digest = digest_json({"weights": digests, "tokenizer": manifest["digest"]})
    return BaseFacts(path, "checkpoint", folder, tokenizer, model, manifest["vocab_size"], digest, trained, origins)


def _of_folder(path: str) -> BaseFacts:
    folder = Path(path)
    model = settings_of_config(read_object(folder / "config.json"))
    files, weights = tokenizer_files(folder), weight_files(folder)
    return _foreign(path, "folder", model, files, weights, licence_of(folder))


def _of_gguf(path: str) -> BaseFacts:
    file = GgufFile(Path(path))
    licence = said_licence(file.get("general.license"), "the file")
    return _foreign(path, "gguf", file.settings, file.tokenizer_files(), [file.path], licence)


@lru_cache(maxsize=1)  # reading a large vocabulary takes seconds, and a command asks several times
def _read_foreign(path: str, signature: str) -> BaseFacts:
    try:
        return _of_gguf(path) if Path(path).is_file() else _of_folder(path)
    except (ConfigError, TokenizerError) as error:
        raise ConfigError(f"{path}: {error}" if path not in str(error) else str(error)) from None
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error!r:.200}") from None


def _foreign(
    path: str,
    kind: Literal["folder", "gguf"],
    model: ModelSettings,
    files: Mapping[str, bytes],
    weights: list[Path],
    licence: str,
) -> BaseFacts:
    contents, num_weights = _contents(weights), count_parameters(model).total
    most = sum(size for size, _ in contents.values()) // _LEAST_BYTES
    if kind == "folder" and num_weights > most:
        raise ConfigError(f"its config.json makes {num_weights:,} weights, and its files have {most:,} at most")
    manifest = foreign_manifest(files, model.vocab_size, read_foreign(files, model.vocab_size))
    digest = digest_json({"weights": contents, "tokenizer": manifest["digest"]})
    # an export of headwater's has a template in any case, and says in its manifest whether the model was tuned
    is_untuned = kind == "folder" and read_manifest_or_none(Path(path)).get("is_tuned") is False
    answers = not is_untuned and any(b"chat_template" in name.encode() + content for name, content in files.items())
    origin = Origin(_name_of(Path(path)), "others", detail=licence, answers=answers)
    return BaseFacts(path, kind, Path(path), Path(path), model, model.vocab_size, digest, origins=(origin,))


def _name_of(path: Path) -> str:
    """Return what a model is called by its folder or file; in the cache of Hugging Face that is owner/name."""
    path = path.absolute()
    cached = [folder.removeprefix("models--") for folder in path.parts if folder.startswith("models--")]
    return cached[-1].replace("--", "/") if cached else path.stem if path.suffix == ".gguf" else path.name


def _signature(paths: Iterable[Path]) -> str:
    """Return what changes when one of the files does."""
    stats = [path.stat() for path in paths]
    return digest_json([[stat.st_size, stat.st_mtime_ns, stat.st_ino] for stat in stats])


def _contents(paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Return for each file its size and a digest: of every byte, or of a large one of parts all over it."""
    found = {}
    for path in paths:
        digest = xxh3_128()
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                num_parts = -(-size // _PART_BYTES)
                for number in range(min(num_parts, _MOST_PARTS)):
                    file.seek(_PART_BYTES * (number * (num_parts - 1) // max(1, min(num_parts, _MOST_PARTS) - 1)))
                    digest.update(file.read(_PART_BYTES))
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror}") from None
        found[path.name] = [size, digest.hexdigest()]
    return found


STAGE_VERSION = 1


def copied_key(base_digest: str) -> str:
    """Return the key of the tokenizer that belongs to the base of this digest."""
    return stage_key("tokenizer of a base", STAGE_VERSION, {}, {"base": base_digest})


def copy_tokenizer(folder: Path, out_dir: Path, key: str) -> None:
    """Write the tokenizer of `folder` as one of this key; raise TokenizerError where it is damaged."""
    tokenizer = Tokenizer.load(folder)
    names = tokenizer.manifest["files"] if tokenizer.foreign else ["tokenizer.json"]
    data = {name: (folder / name).read_bytes() for name in FILES if name in names}
    with new_folder(out_dir, replace=True) as copy:
        for name, content in data.items():
            write_bytes(copy / name, content)
        write_json(copy / "manifest.json", {**tokenizer.manifest, "key": key})


def write_tokenizer(base: BaseFacts, out_dir: Path, key: str) -> None:
    """Write the base's tokenizer as one of this key; raise ConfigError or TokenizerError where it is none we know."""
    if base.kind == "checkpoint":
        copy_tokenizer(base.tokenizer, out_dir, key)
    else:
        write_foreign(_files(base), base.vocab_size, out_dir, key)


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
