"""The digest of a tensor's bits is one of the whole, whatever parts it was made of, and every changed bit shows."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.train.checkpoint.tensor_digest import add_digests, tensor_digest
from headwater.train.checkpoint.tensor_file import DTYPES

SHAPES = st.lists(st.integers(1, 7), min_size=0, max_size=3)


def random_bits(shape: list[int], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    size = torch.empty(0, dtype=dtype).element_size()
    num_bytes = size * int(torch.tensor(shape).prod()) if shape else size
    generator = torch.Generator().manual_seed(seed)
    highest = 2 if dtype == torch.bool else 256
    bits = torch.randint(0, highest, (num_bytes,), dtype=torch.uint8, generator=generator)
    return bits.view(dtype).reshape(shape)


@given(shape=SHAPES, dtype=st.sampled_from(list(DTYPES)), data=st.data())
def test_the_digests_of_boxes_add_up_to_that_of_the_whole(shape, dtype, data):
    whole = random_bits(shape, dtype)
    boxes = [((0,) * len(shape), whole)]
    for _ in range(data.draw(st.integers(0, 4))):
        offsets, box = boxes.pop(0)
        cuttable = [dimension for dimension, size in enumerate(box.shape) if size > 1]
        if not cuttable:
            boxes.append((offsets, box))
            continue
        dimension = data.draw(st.sampled_from(cuttable))
        at = data.draw(st.integers(1, box.shape[dimension] - 1))
        first, second = box.split([at, box.shape[dimension] - at], dimension)
        moved = tuple(offset + at * (axis == dimension) for axis, offset in enumerate(offsets))
        boxes += [(offsets, first), (moved, second)]
    boxes.append(((0,) * len(shape), whole[:0] if shape else whole.new_empty(0)))  # one of no elements adds nothing
    assert add_digests(tensor_digest(box, offsets, shape) for offsets, box in boxes) == tensor_digest(whole)
