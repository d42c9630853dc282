"""Linear maps in float8: who may use them, and, where torchao is installed, that they round and do nothing else."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch

from headwater.core.errors import ConfigError
from headwater.machine.device import compiled
from headwater.machine.device.compiled import convert_linears_, require_float8
from headwater.model.init import initialise_
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """Stand in for a GPU; return a function that sets what it can do, and whether torchao is there."""

    def set_gpu(capability: tuple[int, int] = (9, 0), torchao: object = "a module") -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
        monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: torchao)

    return set_gpu


@pytest.mark.parametrize(
    ("capability", "torchao", "compiled", "named"),
    [
        ((8, 0), "a module", True, "a GPU has compute capability 8.0; float8 needs 8.9"),
        ((8, 9), None, True, r"torchao is missing: pip install 'headwater\[fp8\]'"),
        ((9, 0), "a module", False, "nothing is compiled here.*set machine.compile to on"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(gpu, capability, torchao, compiled, named):
    gpu(capability, torchao)
    with pytest.raises(ConfigError, match=named) as error:
        require_float8(GPU, compiled)
    assert "set machine.dtype to auto or bfloat16" in str(error.value)


# ---- by torchao's emulation


def model(family: str, d_ff: int = 48) -> Transformer:
    shape = {"d_model": 64, "d_ff": d_ff, "num_heads": 4, "num_kv_heads": 4, "head_dim": 16, "seq_len": 32}
    made = Transformer(ModelSettings(family=family, vocab_size=37, num_layers=2, **shape), torch.bfloat16)
    initialise_(made, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.1, generator=generator)
    return made


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
@pytest.mark.parametrize("d_ff", [48, 50])
def test_float8_is_bfloat16_with_more_rounding(family, d_ff):
    exact, rounded = model(family, d_ff), model(family, d_ff)
    names = list(dict(rounded.named_parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchao's import
        convert_linears_(rounded.blocks, emulate=True)
    assert list(dict(rounded.named_parameters())) == names
    converted = [name for name, module in rounded.named_modules() if type(module).__name__ == "Float8Linear"]
    num_attention, num_mlp = 4, 0 if d_ff % 16 else (2 if family == "gpt2" else 3)
    assert len(converted) == 2 * (num_attention + num_mlp)
    assert all(name.startswith("blocks.") for name in converted)
    tokens_BT = torch.randint(0, 37, (2, 32), generator=torch.Generator().manual_seed(3))
    documents_BT = torch.zeros_like(tokens_BT)
    losses = [one(tokens_BT, documents_BT, tokens_BT) for one in (exact, rounded)]
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.03)
    for loss in losses:
        loss.backward()
    for (name, one), other in zip(exact.named_parameters(), rounded.parameters()):
        assert other.grad.dtype == torch.float32
        if not name.endswith("key.bias"):  # its gradient is 0 but for rounding: softmax ignores what all scores share
            assert (one.grad - other.grad).norm() < 0.4 * one.grad.norm(), name
