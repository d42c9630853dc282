"""The weights of a GGUF file as our parameters: dequantized in parts where they are wanted, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.core.errors import ConfigError
from headwater.export.base.gguf import GgufFile
from headwater.model.init import WHOLE, Part
from headwater.model.names import gguf_rules, places, their_shapes

_MAX_NAMED = 6


class GgufValues:
    """Our parameters from a GGUF file; each tensor there has its place here, or it is refused."""

    def __init__(self, file: GgufFile) -> None:
        """Raise ConfigError that names the tensors that are missing, left over, or of another shape."""
        self._file = file
        self._places = places(file.settings, gguf_rules(file.settings))
        expected = their_shapes(file.settings, gguf_rules(file.settings))
        found = {name: tuple(reversed(tensor.shape)) for name, tensor in file.tensors.items()}
        problems = [f"{name} is missing" for name in expected if name not in found]
        problems += [f"{name} has no place here" for name in found if name not in expected]
        problems += [
            f"{name} is {found[name]} and the keys make it {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ]
        if problems:
            more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
            raise ConfigError(f"{file.path} doesn't hold its model: {'; '.join(problems[:_MAX_NAMED])}{more}")

    def value(self, name: str, shape: Sequence[int], part: Part = WHOLE) -> Tensor:
        """Return our parameter `name` of `shape`, or a part of it, in float32."""
        place = self._places[name]
        rows = slice(*(part[0] if part else slice(None)).indices(shape[0]))
        if place.paired_head_dim is None:
            within = slice(place.first_row + rows.start, place.first_row + rows.stop)
            values = torch.from_numpy(self._file.dequantized(place.theirs, within))
        else:
            pairs = torch.from_numpy(self._file.dequantized(place.theirs, slice(None)))
            values = pairs.unflatten(0, (-1, place.paired_head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)[rows]
        if not torch.isfinite(values).all():
            raise ConfigError(f"{self._file.path}: {place.theirs} holds values that are not finite")
        return values[(slice(None), *part[1:])].contiguous()
