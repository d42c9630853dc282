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
from headwater.machine.device.device import Device
from headwater.machine.device.settings import MachineSettings
from headwater.machine.host.load import LoadMeter
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


SLOW_INT8, FAST_INT8 = {"float32": 1.0, "bfloat16": 2.0, "int8": 2.9}, {"float32": 1.0, "bfloat16": 2.0, "int8": 3.1}
NO_COMPILER = {"why_not": "no compiler; running uncompiled"}
DECIDED = [  # what measuring finds, settings, what a run that is resumed had; dtype, whether compiled
    ({"bfloat16": 2.0}, {}, {}, "bfloat16", True),
    ({"bfloat16": 0.5}, {}, {}, "float32", True),
    (FAST_INT8, {}, {}, "int8", True),
    (SLOW_INT8, {}, {}, "bfloat16", True),  # what rounding takes is more than the gain
    ({"bfloat16": 0.5, "int8": 9.0}, {}, {}, "float32", True),  # activations in bfloat16 would cost more
    (FAST_INT8 | NO_COMPILER, {}, {}, "bfloat16", False),
    (FAST_INT8, {"dtype": "float32"}, {}, "float32", True),
    *((FAST_INT8, {}, {"dtype": kept, "compiled": True}, kept, True) for kept in ("float32", "bfloat16", "int8")),
    ({}, {}, {"dtype": "float32", "compiled": False}, "float32", False),  # though a compiler came
    (NO_COMPILER, {}, {"dtype": "float32", "compiled": True}, "float32", False),
    (NO_COMPILER, {}, {"dtype": "int8", "compiled": True}, "bfloat16", False),
    ({}, {"dtype": "float8"}, {}, "float8", True),
]


@pytest.mark.parametrize(("found", "given", "kept", "dtype", "compiled"), DECIDED)
def test_a_machine_is_measured_and_decided_once(measured, monkeypatch, found, given, kept, dtype, compiled):
    queried, before = measured(**found), torch.get_num_threads()
    monkeypatch.setattr(module, "require_float8", lambda device, compiled: None)
    settings = MachineSettings(**ONE_THREAD, device="cpu", **given)
    facts = inspect_machine(settings, {"num_threads": 1, **kept} if kept else None)
    assert (facts.dtype, facts.compiled, facts.note) == (dtype, compiled, found.get("why_not", ""))
    product = "bfloat16" if dtype == "float8" else dtype
    assert facts.peak_flops_per_second == {"float32": 1.0, "bfloat16": 2.0, "int8": 0.0, **found}[product]
    assert facts.compute_dtype == {"float32": torch.float32}.get(dtype, torch.bfloat16)
    assert len(set(queried)) == 1 or not (kept or given), "what is set or kept is alone measured"
    again = inspect_machine(settings, json.loads(json.dumps(facts.decisive())))
    assert again.decisive() == facts.decisive()
    assert torch.get_num_threads() == before, "to inspect a machine changes nothing of the process"


REFUSED = [  # what measuring finds, settings, what a run that is resumed had; words of the error
    (NO_COMPILER, {"dtype": "int8"}, {}, r"no kernels here.*set machine\.dtype to auto or bfloat16"),
    (NO_COMPILER, {"dtype": "int8"}, {"dtype": "int8", "compiled": True}, "there are no kernels here"),
    (NO_COMPILER, {"compile": "on"}, {}, r"machine\.compile is on and no compiler"),
    ({}, {"dtype": "float8"}, {}, r"the device is a processor.*; set machine\.dtype to auto or bfloat16"),
    ({}, {}, {"dtype": "float8", "compiled": False}, "computes no float8"),
]
if not torch.cuda.is_available():
    REFUSED.append(({}, {"device": "cuda"}, {}, r"torch finds no GPU here; set machine\.device to auto or cpu"))


@pytest.mark.parametrize(("found", "given", "kept", "words"), REFUSED)
def test_what_a_machine_cannot_do_is_an_error_that_says_what_to_do(measured, found, given, kept, words):
    measured(**found)
    with pytest.raises(ConfigError, match=words):
        inspect_machine(MachineSettings(**ONE_THREAD, **{"device": "cpu", **given}), kept or None)


def test_threads_and_load_are_those_of_this_process(measured, monkeypatch):
    measured()
    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    for note in ("other processes on 1.0 of the 2 CPUs here", None):
        monkeypatch.setattr(module.LoadMeter, "note", lambda self, num_threads, note=note: note)
        found = inspect_machine(MachineSettings(device="cpu"))
        assert (found.num_threads, found.load) == (3, note)


def test_a_run_says_what_made_its_number_format(measured):
    measured(float32=1e11, bfloat16=4e11, int8=9e11)
    auto, settings = MachineSettings(**ONE_THREAD, device="cpu"), MachineSettings(**ONE_THREAD, dtype="float32")
    assert inspect_machine(auto).dtype_why == (
        "the fastest here, in GFLOP/s of one thread: float32 100, bfloat16 400, int8 900; int8 from 1.5 times bfloat16 on"
    )
    assert inspect_machine(auto, {"dtype": "bfloat16"}).dtype_why == "as the run began"
    assert inspect_machine(settings, {"dtype": "bfloat16"}).dtype_why == "set by machine.dtype"
    measured(why_not="no C++ compiler")
    found = inspect_machine(auto, {"dtype": "int8", "compiled": True})
    assert found.dtype_why == "the run began in int8, and there are no kernels here (see `headwater doctor`)"
    assert int8_problem(torch.device("cuda"), compiled=True) == "int8 is for processors, and the device is a GPU"


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


def test_a_gpu_may_compute_as_fast_as_it_can_where_the_same_bits_are_not_wanted():
    with set_up(facts(device="cuda", compiled=True, deterministic=False)):
        assert state_of_process()[1:] == (0, False, False)


def test_other_processes_on_the_processor_take_nothing_of_a_gpus_utilisation(measured, monkeypatch):
    measured()
    monkeypatch.setattr(LoadMeter, "note", lambda *_: "Other processes use 2 of the 2 CPUs")
    monkeypatch.setattr(module, "gpu_of", lambda *_: 0)
    monkeypatch.setattr(module, "device_of", lambda name: Device())
    settings = MachineSettings(**ONE_THREAD, dtype="float32")
    assert inspect_machine(settings).utilisation(0.5) == 0.5
    monkeypatch.setattr(module, "gpu_of", lambda *_: None)
    assert inspect_machine(settings).utilisation(0.5) is None


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
