"""The recipe gpt2-124m has the size of its name."""

from __future__ import annotations

import pytest
import torch

from headwater.model.count import count_parameters
from headwater.model.transformer import Transformer
from headwater.runfile.run_config import load_run


def test_it_has_124_million_parameters_by_count_and_as_built():
    model = load_run("gpt2-124m", [])[0].model
    assert (model.num_layers, model.d_model, model.num_heads, model.seq_len) == (12, 768, 12, 1024)
    counted = count_parameters(model).total
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in Transformer(model).parameters())
    assert counted == built
    assert counted == pytest.approx(124e6, rel=0.01)
