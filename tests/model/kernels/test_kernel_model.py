"""Whole models and runs with kernels, against the same with plain operations."""

from __future__ import annotations

import copy
import functools
import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from exact import DTYPES, random, relative_error
from operations import OfInt8, OfKernels, built
from small_run import without_clock
from tiny_run import CountingEvaluator, plan, train_here
from torch import nn

from headwater.core.records import read_records
from headwater.machine.device.settings import MachineSettings
from headwater.machine.host.facts import allowed_cpus
from headwater.machine.host.waiting import idle_team
from headwater.model.init import initialise_
from headwater.model.kernels.library import MAX_HEAD_DIM
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.train.settings import TrainPlan

FAMILIES = ["qwen3", "llama", "gpt2"]
VOCAB_SIZE, SEQ_LEN = 61, 45


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}


def settings(family: str, tied: bool, **choices: Any) -> ModelSettings:
    shape = {"d_model": 48, "d_ff": 72, "num_heads": 3, "num_kv_heads": 3 if family == "gpt2" else 1, "head_dim": 16}
    shape |= {"vocab_size": VOCAB_SIZE, "num_layers": 2, "seq_len": SEQ_LEN, "tied_embeddings": tied}
    return ModelSettings(family=family, **shape | choices)


def results(shape: ModelSettings, dtype: torch.dtype, ops: OfKernels | None) -> dict[str, torch.Tensor]:
    """Return hidden states, loss, losses of tokens and all gradients of a model with random weights."""
    model = built(shape, dtype, ops)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            width = parameter.shape[-1]
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, width**-0.5, generator=generator)
    tokens_BT = torch.randint(0, VOCAB_SIZE, (3, SEQ_LEN), generator=generator)
    documents_BT = (torch.rand(3, SEQ_LEN, generator=generator) < 0.1).cumsum(1)
    targets_BT = tokens_BT.roll(-1, 1).masked_fill(documents_BT != documents_BT.roll(-1, 1), -1)
    x_BTD = model.hidden(tokens_BT, documents_BT)
    loss = model(tokens_BT, documents_BT, targets_BT) / 10
    loss.backward()
    found = {"hidden": x_BTD.detach(), "loss": loss.detach(), "losses": model.token_losses(x_BTD, targets_BT).detach()}
    return found | {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_loss_and_gradients_are_those_of_plain_operations(any_ops, family, tied):
    ours, plain = (results(settings(family, tied), torch.float32, ops) for ops in (any_ops, None))
    assert ours.keys() == plain.keys()
    for name, value in plain.items():
        assert relative_error(ours[name], value.double()) < 5e-5, name


@pytest.mark.parametrize(
    ("family", "choices"),
    [
        ("qwen3", {"attention_bias": True, "sliding_window": 9, "rope_scaling": YARN}),
        ("llama", {"attention_bias": True, "sliding_window": 40}),
        ("qwen3", {"head_dim": MAX_HEAD_DIM + 2}),
    ],
    ids=["all settings", "llama", "heads wider than the kernel's"],
)
def test_every_setting_of_a_model_is_known_or_stays_plain(ops, family, choices):
    ours, plain = (results(settings(family, False, **choices), torch.float32, one) for one in (ops, None))
    for name, value in plain.items():
        assert relative_error(ours[name], value.double()) < 5e-5, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_module_can_be_called_alone(ops, family, dtype):
    plain, ours = (built(settings(family, True), dtype, one) for one in (None, ops))
    initialise_(plain, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.1, generator=generator)
    ours.load_state_dict(plain.state_dict())
    x_BTD = random(2, 7, 48, dtype=dtype)
    first_BT, table_2TP = torch.zeros(2, 7, dtype=torch.int32), None if family == "gpt2" else plain.rotary_2TP[:, :7]
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    alike = functools.partial(torch.testing.assert_close, rtol=tolerance, atol=tolerance)
    for other, one in zip(ours.blocks, plain.blocks):
        for name in ("attention_norm", "mlp_norm", "mlp"):
            alike(getattr(other, name)(x_BTD), getattr(one, name)(x_BTD))
        alike(other.attention.out(x_BTD), one.attention.out(x_BTD))
        alike(other.attention(x_BTD, first_BT, table_2TP), one.attention(x_BTD, first_BT, table_2TP))
        alike(other(x_BTD, first_BT, table_2TP), one(x_BTD, first_BT, table_2TP))
    alike(ours.final_norm(x_BTD), plain.final_norm(x_BTD))


@pytest.mark.parametrize("modules", ["plain", "kernels"])
def test_parts_of_the_heads_are_smaller_weights_and_nothing_else(ops, modules):
    """As in tensor parallelism: each part has some of the heads, and their outputs add up."""
    whole = Transformer(settings("qwen3", True, num_heads=4, num_kv_heads=2))
    initialise_(whole, 0)
    attention = whole.blocks[0].attention
    attention.out.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    parts = []
    for number in range(2):
        part = copy.deepcopy(whole)
        for name in ("query", "key", "value"):
            weight = getattr(attention, name).weight
            getattr(part.blocks[0].attention, name).weight = nn.Parameter(weight.chunk(2)[number])
        part.blocks[0].attention.out.weight = nn.Parameter(attention.out.weight.chunk(2, dim=1)[number].contiguous())
        parts.append(part)
    for model in (whole, *parts) if modules == "kernels" else ():
        ops.convert_(model)
    inputs = random(2, 7, 48), torch.zeros(2, 7, dtype=torch.int32), whole.rotary_2TP[:, :7]
    found = sum(part.blocks[0].attention(*inputs) for part in parts)
    torch.testing.assert_close(found, whole.blocks[0].attention(*inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_stay_where_they_are_by_name_and_order(ops, family):
    model = built(settings(family, False), torch.float32)
    before = [(name, id(parameter)) for name, parameter in model.named_parameters()]
    ops.convert_(model)
    assert [(name, id(parameter)) for name, parameter in model.named_parameters()] == before


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_a_rounding_away_from_bfloat16(library, family):
    shape = settings(family, False)
    true, ours = results(shape, torch.bfloat16, None), results(shape, torch.bfloat16, OfInt8(library, 2))
    floor = max(float(value.norm()) for value in true.values()) / 100
    for name, value in true.items():
        distance = float((ours[name].float() - value.float()).norm() / (value.float().norm() + floor))
        assert 0 < distance < 0.1 or name == "head.weight", f"{name}: {distance:.4f}"


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_as_near_to_fp32_as_plain_bfloat16_is(any_ops, family):
    shape = settings(family, True)
    true = results(shape, torch.float32, None)
    ours, plain = (results(shape, torch.bfloat16, ops) for ops in (any_ops, None))
    distances = {}
    floor = max(float(value.norm()) for value in true.values()) / 100  # GPT-2's key biases have no gradient
    for name, value in true.items():
        own, other = (float((found[name].float() - value).norm() / (value.norm() + floor)) for found in (ours, plain))
        distances[name] = (own, other)
        assert own <= 1.5 * other + 2e-3, f"{name}: {own:.4f}, plain {other:.4f}"
    assert sum(own for own, _ in distances.values()) <= 1.1 * sum(other for _, other in distances.values())


def test_documents_that_change_in_their_place_are_read_again(ops):
    """A batch may be read into the same memory as the one before it."""
    model = built(settings("qwen3", True), torch.float32, ops)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(0))
        tokens_BT = torch.arange(SEQ_LEN)[None]
        documents_BT = torch.zeros(1, SEQ_LEN, dtype=torch.int64)
        model.hidden(tokens_BT, documents_BT)
        documents_BT[:, 20:] = 1
        assert torch.equal(model.hidden(tokens_BT, documents_BT), model.hidden(tokens_BT, documents_BT.clone()))


# ---- runs


@pytest.fixture(autouse=True)
def on_a_quick_machine(quick_machine, library):
    pass


def plan_with_kernels(**changes: Any) -> TrainPlan:
    compiled = MachineSettings(device="cpu", dtype=changes.pop("dtype", "float32"), compile="on", num_threads=1)
    return replace(plan(**changes), machine=compiled)


def losses(run_dir, the_plan: TrainPlan) -> list[float]:
    train_here(run_dir, the_plan)
    return [record["loss"] for record in read_records(run_dir / "records.jsonl", "step")]


@pytest.mark.parametrize(
    ("family", "rule"), [("qwen3", "muon"), ("llama", "adamw"), ("gpt2", "muon")], ids=lambda value: value
)
def test_twelve_steps_have_the_losses_of_plain_operations(tmp_path, family, rule):
    run = {"family": family, "rule": rule, "lr": 0.02 if rule == "muon" else 0.01}
    ours = losses(tmp_path / "kernels", plan_with_kernels(**run))
    plain = losses(tmp_path / "plain", plan(**run))
    assert ours == pytest.approx(plain, rel=1e-4)
    assert ours[-1] < 0.99 * ours[0], "nothing was learned, so that nothing was compared"
    for dtype in ("bfloat16", "int8"):
        rounded = losses(tmp_path / dtype, plan_with_kernels(dtype=dtype, **run))
        assert rounded == pytest.approx(plain, rel=5e-2)  # AdamW turns roundings of small slopes into whole steps


@pytest.fixture
def load():
    """Busy loops, one more than there are CPUs."""
    command = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in range(len(allowed_cpus()) + 1)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def test_a_run_under_load_has_the_bits_of_a_quiet_one(tmp_path, request):
    kernels = MachineSettings(device="cpu", dtype="int8", compile="on", num_threads=2)
    the_plan = replace(plan(), machine=kernels)
    quiet = train_here(tmp_path / "quiet", the_plan).prepared.model.state_dict()
    request.getfixturevalue("load")
    with idle_team():
        under_load = train_here(tmp_path / "under load", the_plan).prepared.model.state_dict()
    for name, value in quiet.items():
        assert torch.equal(value, under_load[name]), name


class JudgingEvaluator(CountingEvaluator):
    """Computes losses in inference mode, as the real one does."""

    def validate(self, model: Any, forward: Any) -> dict[str, Any]:
        tokens_BT = torch.arange(20).view(2, 10)
        with torch.inference_mode():
            losses_BT = model.token_losses(forward(tokens_BT, torch.zeros_like(tokens_BT)), tokens_BT)
        return super().validate(model, forward) | {"loss": float(losses_BT.sum())}


@pytest.mark.parametrize(("stop_after", "dtype"), [(5, "int8"), (6, "float32")])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bits(tmp_path, stop_after, dtype):
    """Step 6 is one of validation, which the resumed run repeats before its first step."""
    the_plan = plan_with_kernels(num_steps=12, validate_every=3, num_probes=0, dtype=dtype)
    whole = train_here(tmp_path / "whole", the_plan, evaluator=JudgingEvaluator())
    train_here(tmp_path / "parts", the_plan, stop_after=stop_after, evaluator=JudgingEvaluator())
    resumed = train_here(tmp_path / "parts", the_plan, evaluator=JudgingEvaluator())
    after = resumed.prepared.model.state_dict()
    for name, value in whole.prepared.model.state_dict().items():
        assert torch.equal(value, after[name]), name
    of_steps = [
        without_clock(list(read_records(tmp_path / name / "records.jsonl", "step"))) for name in ("whole", "parts")
    ]
    for one, other in itertools.zip_longest(*of_steps):
        assert one == other
