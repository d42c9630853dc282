"""What is decided of a machine, kept and done, and whether compilation works: found out by compiling."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import torch._inductor.config as inductor
from tiny_run import plan

from headwater.core.errors import ConfigError
from headwater.machine import compute as module
from headwater.machine.compute import (
    MachineFacts,
    agreed_facts,
    compiler_works,
    fastest_,
    inspect_machine,
    int8_problem,
    set_up,
)
from headwater.machine.device.settings import MachineSettings
from headwater.machine.ranks.exchange import Ranks
from headwater.model.transformer import Transformer

pytestmark = pytest.mark.usefixtures("quick_machine")

ONE_THREAD = {"num_threads": 1}


def facts(**changes) -> MachineFacts:
    values = {
        "device": "cpu",
        "device_name": "a CPU",
        "dtype": "float32",
        "compiled": False,
        "num_threads": 1,
        "peak_flops_per_second": 1e9,
        "torch_version": torch.__version__,
        "note": "",
    }
    return MachineFacts(**values | changes)


@pytest.fixture
def measured(monkeypatch):
    """Set what measuring finds: the rate of each dtype, and why nothing compiles ("" where it does)."""

    def set_findings(float32: float = 1.0, bfloat16: float = 2.0, int8: float = 0.0, why_not: str = "") -> list[str]:
        rates, queried = {"float32": float32, "bfloat16": bfloat16, "int8": int8}, []

        def peaks(device, dtypes):
            names = {dtype: str(dtype).removeprefix("torch.") for dtype in dtypes}
            queried.extend(names.values())
            return {dtype: rates[name] for dtype, name in names.items()}

        monkeypatch.setattr(module, "matmul_peaks", peaks)
        monkeypatch.setattr(module, "thread_rates", lambda dtypes: peaks(None, dtypes))
        monkeypatch.setattr(module, "compiler_works", lambda *given, **choices: (not why_not, why_not))
        return queried

    return set_findings


# ---- decisions


@pytest.mark.parametrize(("bfloat16", "taken"), [(2.0, "bfloat16"), (0.5, "float32")])
def test_auto_takes_the_dtype_whose_matmul_is_faster_and_its_peak(measured, bfloat16, taken):
    measured(bfloat16=bfloat16)
    found = inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"))
    assert (found.dtype, found.peak_flops_per_second) == (taken, max(1.0, bfloat16))


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({"float32": 1.0, "bfloat16": 2.0, "int8": 3.1}, "int8"),
        ({"float32": 1.0, "bfloat16": 2.0, "int8": 2.9}, "bfloat16"),  # what rounding takes is more than the gain
        ({"float32": 1.0, "bfloat16": 0.5, "int8": 9.0}, "float32"),  # activations in bfloat16 would cost more
        ({"float32": 1.0, "bfloat16": 2.0, "int8": 9.0, "why_not": "no compiler"}, "bfloat16"),
    ],
)
def test_auto_takes_int8_where_it_is_much_faster_and_there_are_kernels_for_it(measured, rates, taken):
    measured(**rates)
    found = inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"))
    assert (found.dtype, found.peak_flops_per_second) == (taken, rates[taken])
    assert inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"), found.decisive()).dtype == taken
    assert found.compute_dtype == {"float32": torch.float32}.get(taken, torch.bfloat16)


def test_a_run_says_what_made_its_number_format(measured):
    measured(float32=1e11, bfloat16=4e11, int8=9e11)
    auto, settings = MachineSettings(**ONE_THREAD, device="cpu"), MachineSettings(**ONE_THREAD, dtype="float32")
    assert inspect_machine(auto).dtype_why == (
        "the fastest here, in GFLOP/s of one thread: float32 100, bfloat16 400, int8 900; int8 from 1.5 times bfloat16 on"
    )
    assert inspect_machine(auto, {"dtype": "bfloat16"}).dtype_why == "as the run began"
    assert inspect_machine(settings, {"dtype": "bfloat16"}).dtype_why == "set by machine.dtype"


def test_int8_without_kernels_is_an_error_that_says_what_to_do(measured):
    measured(why_not="no C++ compiler")
    with pytest.raises(ConfigError, match=r"no kernels here.*set machine\.dtype to auto or bfloat16"):
        inspect_machine(MachineSettings(**ONE_THREAD, device="cpu", dtype="int8"))


def test_a_processor_whose_int8_products_saturate_trains_in_bfloat16(measured, monkeypatch):
    measured(bfloat16=2.0, int8=9.0)
    exact = torch._int_mm

    def in_pairs_of_16_bits(left, right):
        shifted, factors = left.double() + 128, right.double()
        pairs = [shifted[:, i : i + 2] @ factors[i : i + 2] for i in range(0, len(right), 2)]
        sums = torch.stack([pair.clamp(-(2**15), 2**15 - 1) for pair in pairs]).sum(0) - 128 * factors.sum(0)
        return sums.int()

    small = torch.randint(-60, 61, (4, 8), dtype=torch.int8)
    assert torch.equal(in_pairs_of_16_bits(small, small.t()), exact(small, small.t())), "only large sums are lost"
    assert inspect_machine(MachineSettings(**ONE_THREAD, device="cpu")).dtype == "int8"
    monkeypatch.setattr(torch, "_int_mm", in_pairs_of_16_bits)
    assert inspect_machine(MachineSettings(**ONE_THREAD, device="cpu")).dtype == "bfloat16"
    with pytest.raises(ConfigError, match="this processor's int8 products lose large sums"):
        inspect_machine(MachineSettings(**ONE_THREAD, device="cpu", dtype="int8"))


def test_int8_is_not_for_a_gpu():
    assert int8_problem(torch.device("cuda"), compiled=True) == "int8 is for processors, and the device is a GPU"


def test_a_run_that_chose_int8_by_itself_goes_on_in_bfloat16_where_there_is_none(measured):
    measured(why_not="no C++ compiler")
    kept = facts(dtype="int8", compiled=True).decisive()
    found = inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"), kept)
    assert (found.dtype, found.compiled) == ("bfloat16", False)
    assert found.dtype_why == "the run began in int8, and there are no kernels here (see `headwater doctor`)"
    with pytest.raises(ConfigError, match="there are no kernels here"):
        inspect_machine(MachineSettings(**ONE_THREAD, device="cpu", dtype="int8"), kept)


@pytest.mark.parametrize("kept", ["float32", "bfloat16", "int8"])
def test_a_resumed_run_keeps_its_dtype_though_the_other_is_faster_now(measured, kept):
    measured(float32=1.0, bfloat16=0.5 if kept == "bfloat16" else 2.0, int8=1.0)
    settings = MachineSettings(**ONE_THREAD, device="cpu")
    assert inspect_machine(settings, facts(dtype=kept, compiled=True).decisive()).dtype == kept


def test_a_run_that_began_uncompiled_stays_so_though_a_compiler_came(measured):
    measured()
    settings = MachineSettings(**ONE_THREAD, device="cpu")
    assert inspect_machine(settings).compiled
    assert not inspect_machine(settings, facts(compiled=False).decisive()).compiled
    assert inspect_machine(settings, facts(compiled=True).decisive()).compiled


def test_a_run_whose_compiler_went_away_goes_on_uncompiled_and_says_so(measured):
    measured(why_not="no compiler; running uncompiled")
    found = inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"), facts(compiled=True).decisive())
    assert not found.compiled
    assert found.note == "no compiler; running uncompiled"


def test_a_dtype_that_is_set_is_taken_and_alone_measured(measured):
    queried = measured(bfloat16=9.0)
    assert inspect_machine(MachineSettings(**ONE_THREAD, device="cpu", dtype="float32")).dtype == "float32"
    assert queried == ["float32"]


def test_compile_on_without_a_compiler_is_an_error_with_the_reason(measured):
    measured(why_not="torch.compile doesn't work here (no g++)")
    with pytest.raises(ConfigError, match=r"machine\.compile is on and torch\.compile doesn't work here \(no g\+\+\)"):
        inspect_machine(MachineSettings(**ONE_THREAD, device="cpu", compile="on"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match=r"torch finds no GPU here; set machine\.device to auto or cpu"):
        inspect_machine(MachineSettings(**ONE_THREAD, device="cuda"))


def test_the_same_machine_makes_the_same_decisions_again(measured):
    measured()
    settings, before = MachineSettings(**ONE_THREAD), torch.get_num_threads()
    first = inspect_machine(settings)
    kept = json.loads(json.dumps(first.decisive()))
    assert inspect_machine(settings, kept).decisive() == first.decisive()
    assert torch.get_num_threads() == before, "to inspect a machine changes nothing of the process"


def test_threads_default_to_the_cores_that_this_process_may_use(measured, monkeypatch):
    measured()
    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    assert inspect_machine(MachineSettings(device="cpu")).num_threads == 3


def test_a_processor_is_refused_with_what_to_do(measured):
    measured()
    with pytest.raises(ConfigError, match=r"the device is a processor.*; set machine\.dtype to auto or bfloat16"):
        inspect_machine(MachineSettings(device="cpu", dtype="float8", num_threads=1))


def test_the_fact_is_float8_and_the_peak_and_the_activations_are_bfloat16s(measured, monkeypatch):
    queried = measured(bfloat16=3.0)
    monkeypatch.setattr(module, "require_float8", lambda device, compiled: None)
    settings = MachineSettings(device="cpu", dtype="float8", num_threads=1)
    found = inspect_machine(settings)
    assert (found.dtype, found.peak_flops_per_second, queried) == ("float8", 3.0, ["bfloat16"])
    assert inspect_machine(settings, found.decisive()).decisive() == found.decisive()
    assert found.compute_dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ({"dtype": "int8"}, ["other mathematics from here on (bfloat16 products", "dtype int8 -> bfloat16"]),
        ({"torch_version": "1.13"}, ["same data, other last bits", f"torch_version 1.13 -> {torch.__version__}"]),
        ({}, []),
    ],
)
def test_a_resume_that_computes_otherwise_says_what_that_means(measured, before, words):
    measured()
    said: list[str] = []
    kept = facts(dtype="bfloat16", compiled=True).decisive() | before
    settings = MachineSettings(**ONE_THREAD, device="cpu", dtype="bfloat16")
    agreed_facts(settings, kept, Ranks(), said.append)
    differs = [line for line in said if "this machine differs from the one that began the run" in line]
    assert len(differs) == bool(words)
    assert all(word in differs[0] for word in words)


# ---- verbs


def state_of_process() -> tuple[int, int, bool, bool]:
    fill, mode = torch.utils.deterministic.fill_uninitialized_memory, torch.get_deterministic_debug_mode()
    return torch.get_num_threads(), mode, fill, inductor.deterministic


@pytest.mark.parametrize(("device", "is_compiled_so"), [("cpu", False), ("cuda", True)])
@pytest.mark.parametrize("mode", [0, 1])
def test_the_process_is_set_up_inside_alone(device, is_compiled_so, mode):
    torch.set_deterministic_debug_mode(mode)
    before = state_of_process()
    try:
        with pytest.raises(KeyError), set_up(facts(num_threads=3, device=device, compiled=True)):
            assert state_of_process() == (3, 2, False, is_compiled_so)
            raise KeyError
        assert state_of_process() == before
    finally:
        torch.set_deterministic_debug_mode(0)


def test_a_peak_that_was_measured_under_load_is_marked(monkeypatch):
    for note in ("other processes on 1.0 of the 2 CPUs here", None):
        monkeypatch.setattr(module.LoadMeter, "note", lambda self, num_threads, note=note: note)
        assert inspect_machine(MachineSettings(**ONE_THREAD, device="cpu")).load == note


@pytest.mark.parametrize(("head_dim", "is_known"), [(256, True), (258, False)])
def test_attention_whose_heads_the_kernels_lack_is_said_to_run_without_them(monkeypatch, head_dim, is_known):
    monkeypatch.setattr("headwater.model.kernels.library.load_kernels", lambda: None)
    monkeypatch.setattr(module, "multiplies_int8_exactly", lambda: True)
    monkeypatch.setattr(module, "thread_rates", lambda dtypes: {one: 4.0 / one.itemsize for one in dtypes})
    found = inspect_machine(MachineSettings(**ONE_THREAD, device="cpu"), head_dim=head_dim)
    assert (found.compiled, found.dtype) == (True, "int8")
    assert ("no kernel for heads of width 258" in found.note) is not is_known


def test_without_compilation_a_model_stays_as_it_is():
    model = Transformer(plan().model)
    modules = dict(model.named_modules())
    assert fastest_(model, facts()) is model
    assert dict(model.named_modules()) == modules


def test_a_run_that_began_in_float8_is_not_resumed_in_another_dtype_here():
    with pytest.raises(ConfigError, match="computes no float8"):
        inspect_machine(MachineSettings(device="cpu"), {"dtype": "float8", "compiled": False})


# ---- the compiler of the test's choice


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (False, "no kernels for this processor (no C++ compiler (g++, c++, clang++) is on the path)"),
        (True, "/g++ failed: error: no headers"),
    ],
)
def test_a_compiler_that_is_missing_or_fails_is_one_sentence_and_no_traceback(
    tmp_path, monkeypatch, capfd, fails, says
):
    broken = '#!/bin/sh\n[ "$1" = --version ] && echo "g++ (broken) 12.2.0" && exit 0\necho "error: no headers" >&2\nexit 1\n'
    if fails:
        (tmp_path / "g++").write_text(broken)
        (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # kernels that were compiled before lie in the other one
    works, why = compiler_works(MachineSettings(), torch.device("cpu"))
    assert not works
    assert says in why and "\n" not in why
    assert why.endswith("; running PyTorch's own operations, more slowly")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_a_compiler_that_works_is_used():
    assert compiler_works(MachineSettings(), torch.device("cpu")) == (True, "")


def test_switched_off_compiles_nothing_and_says_where(monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    works, why = compiler_works(MachineSettings(compile="off"), torch.device("cpu"))
    assert not works
    assert "machine.compile" in why


def test_heads_too_narrow_for_a_gpus_attention_run_uncompiled_and_say_so():
    """Compiled, the first step would end with an error of torch's."""
    works, why = compiler_works(MachineSettings(), torch.device("cuda"), head_dim=8)
    assert not works
    assert "heads of width 8, under 16 (model.head_dim); running uncompiled" in why
