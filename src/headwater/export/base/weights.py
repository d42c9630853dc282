"""The weights of a model to start from, as first values of a run's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from headwater.core.errors import CheckpointError, ConfigError
from headwater.export.base.facts import BaseFacts, facts_of
from headwater.export.base.folder_weights import FolderValues, ForeignValues, named, problems_of_shapes
from headwater.export.base.gguf import GgufFile
from headwater.model.init import WHOLE, FirstValue, OpenFirst, Part
from headwater.model.names import places, rules, their_shapes
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.train.checkpoint.layout import MODEL
from headwater.train.checkpoint.load import StoredTensors


def opener(base: BaseFacts | None, digest: str | None) -> OpenFirst | None:
    """Return what opens the weights of a base, and raises ConfigError where they aren't those of `digest`."""
    return None if base is None else lambda: open_values(_with_digest(base, digest))


def _with_digest(base: BaseFacts, digest: str | None) -> BaseFacts:
    if facts_of(str(base.weights)).digest != digest:
        raise ConfigError(
            f"init.from={base.path}: {base.weights} isn't the model that this run starts from: one of them was written "
            "again meanwhile. A run without a checkpoint starts from what is there now when its command is given again"
        )
    return base


def model_of(base: BaseFacts, settings: ModelSettings | None = None) -> Transformer:
    """Return the base's model in float32, or one of other `settings` that has the same parameters."""
    model = Transformer(settings or base.model)
    with torch.no_grad(), open_values(base) as value:
        for name, parameter in model.named_parameters():
            parameter.copy_(value(name, parameter.shape))
    return model.eval()


@contextmanager
def open_values(base: BaseFacts) -> Iterator[FirstValue]:
    """Yield a function that returns the base's values of a parameter of ours, or of a part of it.

    It raises CheckpointError for a tensor that is damaged, missing or of another shape. A foreign model is opened only
    where each of its tensors has its place here; ConfigError says what is wrong with it.
    """
    if base.kind == "folder":
        yield FolderValues(base.weights, base.model).value
        return
    if base.kind == "gguf":
        yield GgufValues(GgufFile(base.weights)).value
        return
    with StoredTensors(base.weights, MODEL) as stored:

        def value(name: str, shape: Sequence[int], part: Part = WHOLE) -> Tensor:
            found = stored.get(name)
            if found is None or found.shape != tuple(shape):
                has = "none" if found is None else f"one of shape {list(found.shape)}"
                raise CheckpointError(f"{base.weights}: {name} of shape {list(shape)} is wanted, and it has {has}")
            return found[part]

        yield value


class GgufValues(ForeignValues):
    """Those of a GGUF file; each tensor there has its place here, or it is refused."""

    def __init__(self, file: GgufFile) -> None:
        """Raise ConfigError that names the tensors that are missing, left over, or of another shape."""
        of_file = rules(file.settings, "llama.cpp")
        super().__init__(file.path, places(file.settings, of_file))
        self._file, expected = file, their_shapes(file.settings, of_file)
        found = {name: tuple(reversed(tensor.shape)) for name, tensor in file.tensors.items()}
        problems = problems_of_shapes(expected, found, "the keys make")
        if problems := problems + named("without a place here", set(found) - set(expected)):
            raise self._refused(problems)

    def _read(self, theirs: str, offsets: Sequence[int], sizes: Sequence[int]) -> Tensor:
        rows, *within = (slice(first, first + size) for first, size in zip(offsets, sizes, strict=True))
        return torch.from_numpy(self._file.dequantized(theirs, rows))[(slice(None), *within)]
