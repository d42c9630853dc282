"""Our writer of tensors against safetensors' own reader and writer."""

from __future__ import annotations

import io

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load
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


def same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    views = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second)]
    return first.dtype == second.dtype and first.shape == second.shape and torch.equal(*views)


def test_their_reader_gives_every_tensor_back_bit_by_bit():
    found = load(written(EXAMPLES))
    assert found.keys() == EXAMPLES.keys()
    assert not [name for name in EXAMPLES if not same_bits(found[name], EXAMPLES[name])]


def test_the_bytes_are_those_of_their_writer():
    contiguous = {name: tensor.detach().contiguous() for name, tensor in EXAMPLES.items()}
    assert written(EXAMPLES, {"format": "pt"}) == their_bytes(contiguous, {"format": "pt"})
    assert written({}) == their_bytes({})


@given(
    st.lists(st.tuples(st.text(max_size=9), st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool])))
)
def test_any_names_and_dtypes_in_any_order_give_their_bytes(described):
    tensors = {name: torch.ones(len(name)).to(dtype) for name, dtype in described if name != "__metadata__"}
    assert written(tensors) == their_bytes(tensors)


def test_metadata_are_where_transformers_reads_them(tmp_path):
    (tmp_path / "a").write_bytes(written({"a": torch.ones(1)}, {"format": "pt"}))
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"format": "pt"}
