"""Our writer of tensors against safetensors' own: the same bytes, which its reader and transformers read."""

from __future__ import annotations

import io

import torch
from safetensors.torch import save as their_bytes

from headwater.train.checkpoint.tensor_file import DTYPES, write_tensors

EXAMPLES = {
    "fp32": torch.randn(7, 3),
    "bf16": torch.randn(5).bfloat16(),
    "fp16": torch.randn(3).half(),
    "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    "transposed": torch.randn(3, 5).T,
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "counts": torch.tensor([2**62, -1]),
    "flags": torch.tensor([True, False, True]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "näme 🙂": torch.ones(2, dtype=torch.int32),
    "parameter": torch.nn.Parameter(torch.ones(4, 4)),
    **{str(dtype): torch.arange(24).reshape(4, 6).to(dtype) for dtype in DTYPES},
}


def written(tensors, metadata=None) -> bytes:
    file = io.BytesIO()
    write_tensors(file, tensors, metadata)
    return file.getvalue()


def test_the_bytes_are_those_of_their_writer():
    contiguous = {name: tensor.detach().contiguous() for name, tensor in EXAMPLES.items()}
    assert written(EXAMPLES, {"format": "pt"}) == their_bytes(contiguous, {"format": "pt"})
    assert written({}) == their_bytes({})
