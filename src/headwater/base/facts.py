"""What a run starts from: the settings, the tokenizer and the digest of a model that exists. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from headwater.checkpoint.layout import MODEL, list_checkpoints, step_of
from headwater.checkpoint.verify import checked_manifest, read_state
from headwater.errors import CheckpointError, ConfigError
from headwater.files import digest_json, read_manifest_or_none
from headwater.model.settings import ModelSettings


@dataclass(frozen=True)
class BaseFacts:
    """A model to start from.

    path        as it was named
    kind        where its weights are: in a checkpoint of headwater's
    weights     that checkpoint's folder
    tokenizer   the folder of its tokenizer
    vocab_size  the tokenizer's, which the embedding of `model` has rows for, or more
    digest      of its weights and its tokenizer
    trained     how it was trained, as a checkpoint says: optim, schedule, train …; {} where nothing does
    """

    path: str
    kind: Literal["checkpoint"]
    weights: Path
    tokenizer: Path
    model: ModelSettings
    vocab_size: int
    digest: str
    trained: Mapping[str, Any] = field(default_factory=dict)


def facts_of(path: str) -> BaseFacts:
    """Return the facts of the model at `path`: a run folder (its newest checkpoint) or a checkpoint's folder.

    Raises ConfigError when there is none, or when it is damaged.
    """
    folder = Path(path)
    if not folder.exists():
        raise ConfigError(f"init.from={path}: there is nothing; name a run folder or a checkpoint's")
    if (checkpoints := list_checkpoints(folder)) or step_of(folder) is not None:
        return _of_checkpoint(path, checkpoints[0][1] if checkpoints else folder)
    raise ConfigError(
        f"init.from={path} is no model: a run folder has checkpoints/ with at least one in it, a checkpoint's is named "
        "step-…"
    )


def _of_checkpoint(path: str, folder: Path) -> BaseFacts:
    tokenizer = folder.resolve().parents[1] / "data" / "tokenizer"
    manifest = read_manifest_or_none(tokenizer)
    if "digest" not in manifest:
        raise ConfigError(f"init.from={path} has no tokenizer: there is none in {tokenizer}, where its run keeps it")
    try:
        trained = read_state(folder)["identity"]
        tensors = checked_manifest(folder)["tensors"]
        model = ModelSettings.model_validate(trained["model"])
    except (CheckpointError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"init.from={path} can't be started from: {error}") from None
    digests = {name: entry["digest"] for name, entry in tensors.items() if name.startswith(f"{MODEL}.")}
    digest = digest_json({"weights": digests, "tokenizer": manifest["digest"]})
    return BaseFacts(path, "checkpoint", folder, tokenizer, model, manifest["vocab_size"], digest, trained)
