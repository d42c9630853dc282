"""Each parameter is in exactly one group, under the rule and the rate that its kind has."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_models import small_settings
from torch import nn

from headwater.model.optim.groups import group_parameters, parts_of
from headwater.model.optim.settings import OptimSettings
from headwater.model.transformer import Transformer


def optim_settings(name: str) -> OptimSettings:
    return OptimSettings(name=name, matrix_lr=0.1, embedding_lr=0.2, head_lr=0.3, vector_lr=0.4, weight_decay=0.5)


def model_of(family: str, tied: bool) -> Transformer:
    return Transformer(small_settings(family=family, vocab_size=31, seq_len=8, tied_embeddings=tied))


def test_kinds_rates_and_decay():
    groups = {g.name: g for g in group_parameters(model_of("gpt2", False).named_parameters(), optim_settings("muon"))}
    assert set(groups["embeddings"].parameters) == {"embed.weight", "positions.weight"}
    assert set(groups["head"].parameters) == {"head.weight"}
    assert all(name.startswith("blocks.") and p.ndim == 2 for name, p in groups["matrices"].parameters.items())
    assert all(p.ndim == 1 for p in groups["vectors"].parameters.values())
    assert {name: (g.rule, g.lr, g.weight_decay) for name, g in groups.items()} == {
        "matrices": ("muon", 0.1, 0.5),
        "embeddings": ("adamw", 0.2, 0.0),
        "head": ("adamw", 0.3, 0.0),
        "vectors": ("adamw", 0.4, 0.0),
    }


@pytest.mark.parametrize("shape", [(2, 2, 2), ()], ids=str)
def test_a_parameter_of_no_kind_is_an_error(shape):
    with pytest.raises(AssertionError, match=r"blocks\.0\.conv\.weight"):
        group_parameters([("blocks.0.conv.weight", nn.Parameter(torch.zeros(shape)))], optim_settings("muon"))


@given(
    shapes=st.lists(st.sampled_from([(3, 5), (5, 3), (4, 4), (3000, 1500)]), min_size=1, max_size=9),
    halved=st.booleans(),
    rule=st.sampled_from(["muon", "adamw"]),
)
def test_every_matrix_is_in_one_part_and_a_stack_has_matrices_of_one_shape(shapes, halved, rule):
    """On a rank that has half of each matrix a stack is as large as of whole ones: parts are the same on all."""
    named = [
        (f"{number}.weight", nn.Parameter(torch.empty(shape, device="meta"))) for number, shape in enumerate(shapes)
    ]
    whole = lambda name, shape: (shape[0] * 2, shape[1]) if halved else tuple(shape)  # noqa: E731
    (group,) = group_parameters(named, optim_settings(rule), whole)
    parts = parts_of([group])
    assert sorted(name for part in parts for name in part.names) == sorted(name for name, _ in named)
    for part in parts:
        (shape,) = {group.shapes[name] for name in part.names}
        limit = max(1, 2**23 // (shape[0] * shape[1])) if rule == "muon" else 1
        assert len(part.names) <= limit
        assert part.slots == (("momentum",) if rule == "muon" else ("mean", "square"))
        per_number = 1 + min(shape) / 64 if rule == "muon" else 1
        assert part.cost == pytest.approx(len(part.names) * shape[0] * shape[1] * per_number)
    if rule == "muon":
        smallest = sum(
            -(-shapes.count(shape) // max(1, 2**23 // (shape[0] * (1 + halved) * shape[1]))) for shape in set(shapes)
        )
        assert len(parts) == smallest, "as few as hold them"
