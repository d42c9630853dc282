"""What operations of the kernels do with extremes, views, threads and what they can't take; values: test_kernel_values."""

from __future__ import annotations

import re
import subprocess

import exact
import pytest
import torch
from exact import DTYPES, random, values_and_gradients
from operations import Plain
from torch import nn

from headwater.model.kernels.calls import SIGNATURES, Kernels
from headwater.model.kernels.library import SOURCES

PLAIN = Plain()
EPS = 1e-6


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
def test_a_norm_of_tiny_and_of_large_rows(ops, scale):
    x, weight = random(2, 3, 40, scale=scale), random(40, seed=1)
    both = [lambda x, w, one=one: one.add_rms_norm(x, None, w, EPS)[1] for one in (ops, PLAIN)]
    expected = exact.rms_norm(x.double(), weight.double(), EPS)
    assert exact.relative_error(both[0](x, weight), expected) < exact.FLOAT32_ERROR
    found, other = (values_and_gradients(one, [x, weight], torch.float32) for one in both)
    for value, same in zip(found, other):
        torch.testing.assert_close(value, same, rtol=1e-4, atol=1e-5)


def test_swiglu_of_gates_that_are_far_out(ops):
    gates = torch.tensor([-1e4, -100.0, -87.5, -20.0, 0.0, 20.0, 87.5, 100.0, 1e4])
    gate_up = torch.cat([gates, torch.full((9,), 2.0)])[None]
    found, true = (values_and_gradients(f, [gate_up], torch.float32) for f in (ops.swiglu, exact.swiglu))
    for value, expected in zip(found, true):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_are_taken_as_what_they_show(ops, dtype):
    """Inputs and slopes that aren't contiguous: every second channel, and axes that are exchanged."""
    double_width, weight = random(3, 2, 80, dtype=dtype), random(40, seed=1)
    maps = [nn.Linear(40, 8, bias=False)]
    for function in (
        lambda x: torch.cat(ops.add_rms_norm(x, x, weight, EPS), -1),
        lambda x: ops.project(x, maps),
        ops.swiglu,
        lambda x: torch.cat(ops.split_heads(x, 2, 1, None, None), 2),
    ):
        whole = double_width[..., ::2].transpose(0, 1).contiguous()
        viewed = values_and_gradients(
            lambda x, f=function: f(x[..., ::2].transpose(0, 1)).transpose(0, 1), [double_width], dtype
        )
        slopes = random(*viewed[0].shape, seed=7, dtype=dtype).transpose(0, 1)
        leaf = whole.clone().requires_grad_()
        out = function(leaf)
        (gradient,) = torch.autograd.grad(out, leaf, slopes.contiguous())
        assert torch.equal(viewed[0].transpose(0, 1), out)
        assert torch.equal(viewed[1][..., ::2].transpose(0, 1), gradient)
        assert not viewed[1][..., 1::2].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_tokens", "rows", "columns"), [(1, 1, 1), (37, 5, 70), (511, 33, 64), (1100, 64, 31)])
def test_a_weight_gradient_is_the_sum_over_tokens_written_or_added(ops, dtype, num_tokens, rows, columns):
    dout, x = random(num_tokens, rows, dtype=dtype), random(num_tokens, columns, seed=1, dtype=dtype)
    before = random(rows, columns, seed=2, scale=10.0)
    true = dout.double().T @ x.double()
    fresh, added = torch.full((rows, columns), torch.nan), before.clone()
    ops.kernels.weight_gradient_(fresh, dout, x, fresh=True)
    ops.kernels.weight_gradient_(added, dout, x, fresh=False)
    limit = exact.FLOAT32_ERROR if dtype == torch.float32 else exact.BFLOAT16_ROUNDING
    assert exact.relative_error(fresh, true) <= limit
    assert exact.relative_error(added, before.double() + true) <= limit


KINDS = {"float": "f32", "bf16": "bf16", "uint16_t": "bf16", "int8_t": "i8", "int32_t": "i32", "int64_t": "i64"}


def declared() -> dict[str, tuple[str, ...]]:
    """Return what the sources declare of each kernel; DEFINE(T, name) declares one for fp32 and one for bf16."""
    found: dict[str, tuple[str, ...]] = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, is_template, arguments in re.findall(r"\bhw_(\w+?)(_##name)?\(([^()]*)\)\s*\{", text):
            kinds = [kind_of(argument) for argument in arguments.split(",")]
            assert kinds.pop() == "int", f"the last argument of {name} is the number of threads"
            for suffix in ("f32", "bf16") if is_template else ("",):
                version = f"{name}_{suffix}" if suffix else name
                found[version] = tuple(suffix if kind == "T" else kind for kind in kinds)
    return found


def kind_of(argument: str) -> str:
    kind, is_pointer = re.fullmatch(r"\s*(?:const )?(\w+)(\*?) \w+\s*", argument).groups()
    return KINDS.get(kind, kind) if is_pointer else {"int64_t": "n", "float": "x"}.get(kind, kind)


def test_every_kernel_of_the_library_takes_what_it_is_given(library):
    symbols = subprocess.run(["nm", "-D", "--defined-only", library._name], capture_output=True, text=True, check=True)
    exported = {line.split("hw_")[1] for line in symbols.stdout.splitlines() if " T hw_" in line}
    assert exported == set(SIGNATURES)
    assert declared() == SIGNATURES


@pytest.mark.parametrize(
    ("arguments", "words"), [((torch.ones(3), 3.0), "a whole number"), ((3, 3), "a tensor"), ((None,), "takes 2 arg")]
)
def test_a_number_in_the_place_of_another_kind_is_an_error(library, monkeypatch, arguments, words):
    monkeypatch.setitem(SIGNATURES, "losses_f32", ("f32", "n"))
    with pytest.raises(AssertionError, match=words):
        Kernels(library, 1)("losses_f32", *arguments)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (
            torch.ones(16, dtype=torch.bfloat16),
            "add_norm_bf16 reads contiguous torch.float32 here, and was given torch.bfloat16",
        ),
        (torch.ones(16, dtype=torch.float64), "given torch.float64"),
        (torch.ones(32)[::2], r"strides \(2,\)"),
    ],
)
def test_a_weight_of_another_dtype_or_with_gaps_is_an_error_and_no_numbers(ops, weight, words):
    with pytest.raises(AssertionError, match=words):
        ops.add_rms_norm(random(1, 3, 16, dtype=torch.bfloat16), None, weight, EPS)


def test_a_nan_of_any_bits_stays_one_in_bfloat16(any_library):
    """Rounded up, the one with all bits set would be zero."""
    nans = torch.tensor([0x7FFFFFFF, -1, 0x7F800001], dtype=torch.int32).view(torch.float32)
    out = torch.empty(3, dtype=torch.bfloat16)
    Kernels(any_library, 1)("momentum_bf16", nans, torch.zeros(3), 3, 0.0, out)
    assert out.isnan().all()


def test_after_inference_a_layer_can_be_trained(ops):
    """A resumed run may evaluate, in inference mode, before its first step."""
    maps = [nn.Linear(16, 8, bias=False), nn.Linear(16, 8, bias=False)]
    x = random(1, 3, 16)
    with torch.inference_mode():
        before = ops.project(x.clone(), maps)
    out = ops.project(x, maps)
    out.sum().backward()
    assert torch.equal(out, before.clone())
    assert all(one.weight.grad is not None for one in maps)
