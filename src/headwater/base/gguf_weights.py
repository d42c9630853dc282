"""The weights of a GGUF file as our parameters: dequantized in parts where they are wanted, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.base.gguf import GgufFile
from headwater.errors import ConfigError
from headwater.model.init import WHOLE, Part
from headwater.model.names import shapes

_NAMES = {
    "embed": "token_embd",
    "final_norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.out": "attn_output",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}
_MAX_NAMED = 6


class GgufValues:
    """Our parameters from a GGUF file; each tensor there has its place here, or it is refused."""

    def __init__(self, file: GgufFile) -> None:
        """Raise ConfigError that names the tensors that are missing, left over, or of another shape."""
        self._file = file
        self._model = file.settings
        expected = {_theirs(name): shape for name, shape in shapes(self._model).items()}
        found = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in file.tensors.items()}
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
        rows = part[0] if part else slice(None)
        turned = self._file.get("general.architecture") == "llama" and name.split(".")[-2] in ("query", "key")
        values = torch.from_numpy(self._file.dequantized(_theirs(name), slice(None) if turned else rows))
        if turned:  # llama.cpp turns neighbouring channels, where the others turn those half a head apart
            half = self._model.head_dim // 2
            values = values.unflatten(0, (-1, half, 2)).transpose(1, 2).flatten(0, 2)[rows]
        if not torch.isfinite(values).all():
            raise ConfigError(f"{self._file.path}: {_theirs(name)} holds values that are not finite")
        return values[(slice(None), *part[1:])].contiguous()


def _theirs(name: str) -> str:
    """Return what llama.cpp calls a parameter of ours."""
    *modules, kind = name.split(".")
    if modules[0] == "blocks":
        return f"blk.{modules[1]}.{_NAMES['.'.join(modules[2:])]}.{kind}"
    return f"{_NAMES['.'.join(modules)]}.{kind}"
