"""How a run computes here: decided at its start, set up for the process, put into its model and optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from headwater.core.errors import ConfigError
from headwater.machine.device.compiled import compile_blocks_, convert_linears_, require_float8, torch_compiles
from headwater.machine.device.device import device_of, matmul_peaks, thread_rates
from headwater.machine.device.settings import FORMATS, MEASURING, MachineSettings
from headwater.machine.host.facts import usable_cores
from headwater.machine.host.load import LoadMeter
from headwater.machine.host.memory import keep_freed_memory
from headwater.machine.host.waiting import sleep_under_load
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import Place, gpu_of
from headwater.machine.ranks.rendezvous import num_visible_gpus
from headwater.model.kernels.convert import convert_
from headwater.model.kernels.int8 import multiplies_int8_exactly
from headwater.model.kernels.library import kernels_work, load_kernels
from headwater.model.kernels.updates import KernelUpdates
from headwater.model.optim.update_rules import FusedUpdates, PlainUpdates
from headwater.model.transformer import Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# what is multiplied to time each; torchao's scaled products can't be timed alone
PRODUCTS = DTYPES | {"int8": torch.int8, "float8": torch.bfloat16}
ACTIVATIONS = {"float8": "bfloat16", "int8": "bfloat16"}  # dtypes of matmuls alone, and that of all else
MAX_SHAPES = 64  # of a compiled block: microbatches, rows of half the length, evaluations. At torch's 8 it raises
HEAD_DIM = 64  # where no model is given
MIN_INT8_GAIN = 1.5  # of int8's peak over bfloat16's, from which rounding to int8 and back is worth its time


@dataclass(frozen=True)
class MachineFacts:
    """What decides the bits and the speed of a run here; kept in checkpoints, so that a resume computes the same."""

    device: str
    device_name: str
    dtype: str
    compiled: bool
    num_threads: int
    peak_flops_per_second: float
    torch_version: str
    note: str
    load: str | None = None  # what other processes took of the processor while the peak was measured
    dtype_why: str = ""
    rates: dict[str, float] = field(default_factory=dict)  # in FLOP/s, of one thread: of what it was chosen from
    deterministic: bool = True

    def decisive(self) -> dict[str, Any]:
        """Return the facts that must be the same for a resume to give the same bits."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "compiled": self.compiled,
            "num_threads": self.num_threads,
            "torch_version": self.torch_version,
        }

    def utilisation(self, flops_per_second: float) -> float | None:
        """Return the fraction of the peak that a rate is.

        None where the peak was measured too low, under load or below the rate: a fraction of it would be too high.
        """
        is_too_low = self.load is not None or flops_per_second > self.peak_flops_per_second
        return None if is_too_low else flops_per_second / self.peak_flops_per_second

    @property
    def compute_dtype(self) -> torch.dtype:
        """The number format of activations."""
        return DTYPES[ACTIVATIONS.get(self.dtype, self.dtype)]

    @property
    def gather_dtype(self) -> torch.dtype:
        """What matrices are rounded to before any use; int8 and float8 find their scales in float32."""
        return DTYPES.get(self.dtype, torch.float32)

    @property
    def evaluation_dtype(self) -> str:
        """The number format of a pass without a gradient: int8 is training's alone."""
        return ACTIVATIONS["int8"] if self.dtype == "int8" else self.dtype

    @property
    def peak_dtype(self) -> str:
        """The dtype of the products that the peak was measured with."""
        return "bfloat16" if self.dtype == "float8" else self.dtype


def inspect_machine(
    settings: MachineSettings,
    kept: dict[str, Any] | None = None,
    place: Place | None = None,
    *,
    head_dim: int = HEAD_DIM,
) -> MachineFacts:
    """Measure this machine and decide what `auto` means for a model with heads of `head_dim`.

    `kept` holds the decisions of the run that is resumed, or of the first rank: the others, who record no utilisation,
    measure nothing. The ranks on one machine divide its cores.
    """
    place, kept = place or Place(), kept or {}
    # as it was decided when the ranks joined
    device = torch.device("cpu" if gpu_of(place, settings.device, num_visible_gpus) is None else "cuda")
    share = max(1, usable_cores() // place.local_world_size)
    # another rank than the first takes as many as that one
    num_threads = settings.num_threads or (kept.get("num_threads") if place.rank else None) or share
    wanted, why = kept.get("dtype", "auto"), "as the run began"
    if settings.dtype != "auto":
        wanted, why = settings.dtype, "set by machine.dtype"
    compiled, note = compiler_works(settings, device, head_dim)
    if settings.compile == "on" and not compiled:
        raise ConfigError(f"machine.compile is on and {note}")
    compiled = compiled and kept.get("compiled", True)
    if wanted == "float8":
        require_float8(device, compiled)
    if wanted == "int8" and (problem := int8_problem(device, compiled)):
        if settings.dtype == "int8":
            raise ConfigError(f"machine.dtype is int8 and {problem}; set machine.dtype to auto or bfloat16")
        wanted, why = ACTIVATIONS["int8"], f"the run began in int8, and {problem}"
    follows = bool(place.rank) and wanted != "auto"
    dtype, why, rates = (wanted, why, {}) if wanted != "auto" else _choose_dtype(device, compiled)
    with threads(num_threads), sleep_under_load():
        meter, product = LoadMeter.of_ranks(place.local_world_size), PRODUCTS[dtype]
        peak = math.inf if follows else matmul_peaks(device, [product])[product]
        load = meter.note(num_threads) if device.type == "cpu" else None  # a GPU is slowed down by nobody there
    return MachineFacts(
        device=device.type,
        device_name=device_of(device.type).name,
        dtype=dtype,
        dtype_why=why,
        compiled=compiled,
        num_threads=num_threads,
        peak_flops_per_second=peak,
        torch_version=torch.__version__,
        note=note,
        load=load,
        rates=rates,
        deterministic=settings.deterministic,
    )


def agreed_facts(
    settings: MachineSettings,
    kept: dict[str, Any] | None,
    ranks: Ranks,
    say: Callable[[str], None],
    *,
    head_dim: int = HEAD_DIM,
) -> MachineFacts:
    """Return how this rank computes: as the first one does, which decides before the others inspect their machine.

    `kept` are the decisions of the run that is resumed. Raises ConfigError where a rank can't: then their bits, or what
    they decide, would differ.
    """
    say(MEASURING)
    inspect = partial(inspect_machine, settings, place=ranks.place, head_dim=head_dim)
    of_first = inspect(kept) if ranks.is_first else None
    decided = ranks.from_first(of_first and of_first.decisive())
    facts = of_first or inspect(decided)
    for rank, found in enumerate(ranks.gather(facts.decisive())):
        if differing := [f"{name} {decided[name]} and {found[name]}" for name in _other(decided, found)]:
            raise ConfigError(
                f"ranks 0 and {rank} differ in {', '.join(differing)}; set machine.num_threads, machine.dtype and "
                "machine.compile, and use the same software on all"
            )
    if facts.note:
        say(facts.note)
    if kept and (changed := _other(kept, decided)):
        changes = "; ".join(f"{name} {kept[name]} -> {decided[name]}" for name in changed)
        is_other = "dtype" in changed
        means = f"other mathematics from here on ({FORMATS[decided['dtype']]})" if is_other else "other last bits"
        say(f"this machine differs from the one that began the run ({changes}): same data, {means}")
    return facts


def _other(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in other if one[name] != other[name]]


def inspect_for_evaluation(settings: MachineSettings, head_dim: int = HEAD_DIM) -> MachineFacts:
    """Decide how a finished model is measured here: in fp32, whatever it was trained in, and with nothing timed.

    A model of a GPU may be measured on a machine that has none.
    """
    device = torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")
    compiled, note = compiler_works(settings, device, head_dim)
    return MachineFacts(
        device=device.type,
        device_name=device_of(device.type).name,
        dtype="float32",
        compiled=compiled,
        num_threads=settings.num_threads or usable_cores(),
        peak_flops_per_second=math.inf,  # nothing is above it: a utilisation of 0
        torch_version=torch.__version__,
        note=note,
        deterministic=settings.deterministic,
    )


def compiler_works(machine: MachineSettings, device: torch.device, head_dim: int = HEAD_DIM) -> tuple[bool, str]:
    """Return whether to compile for a model with heads of `head_dim`, and a sentence that says why not.

    A compiler that is present may still lack headers or OpenMP, so the only honest test is a compilation.
    """
    if machine.compile == "off":
        return False, "compilation is switched off (machine.compile)"
    return kernels_work(head_dim) if device.type == "cpu" else torch_compiles(device, head_dim)


def _choose_dtype(device: torch.device, compiled: bool) -> tuple[str, str, dict[str, float]]:
    """Return the dtype that is fastest here, why in words, and the rates of all in FLOP/s.

    Processors are compared by one thread's own time, so that under load the choice is that of a quiet machine.
    """
    names = [*DTYPES, "int8"] if device.type == "cpu" and compiled else [*DTYPES]
    if device.type == "cpu":
        with threads(1):
            found = thread_rates([PRODUCTS[name] for name in names])
    else:
        found = matmul_peaks(device, [PRODUCTS[name] for name in names])
    rates = {name: found[PRODUCTS[name]] for name in names}
    fastest = max(DTYPES, key=lambda name: rates[name])
    if fastest == ACTIVATIONS["int8"] and rates.get("int8", 0.0) >= MIN_INT8_GAIN * rates[fastest]:
        fastest = "int8" if multiplies_int8_exactly() else fastest
    listed = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in rates.items())
    why = f"the fastest here, in GFLOP/s{' of one thread' if device.type == 'cpu' else ''}: {listed}"
    return fastest, why + (f"; int8 from {MIN_INT8_GAIN:g} times bfloat16 on" if "int8" in rates else ""), rates


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Have PyTorch compute in `num_threads` threads, inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def int8_problem(device: torch.device, compiled: bool) -> str | None:
    """Return why linear maps can't be multiplied in int8 here, or None."""
    if device.type != "cpu":
        return "int8 is for processors, and the device is a GPU"
    if not compiled:
        return "there are no kernels here (see `headwater doctor`)"
    return None if multiplies_int8_exactly() else "this processor's int8 products lose large sums"


@contextmanager
def set_up(facts: MachineFacts) -> Iterator[None]:
    """Have this process compute as decided, inside: threads and how they wait, determinism, memory kept.

    Afterwards threads and algorithms are as they were; how the C library keeps memory can't be asked for.
    """
    before = torch.get_deterministic_debug_mode()
    keep_freed_memory()
    # no value is read before it is written here, and filling every new tensor with NaN costs time
    flags: list[tuple[Any, str, Any]] = [(torch.utils.deterministic, "fill_uninitialized_memory", False)]
    if facts.compiled and facts.device != "cpu":
        import torch._inductor.config as inductor  # here: a second that only a compiler needs

        flags.append((inductor, "deterministic", facts.deterministic))
        flags.append((torch._dynamo.config, "recompile_limit", MAX_SHAPES))
    with ExitStack() as stack:
        stack.enter_context(threads(facts.num_threads))
        stack.enter_context(sleep_under_load())
        stack.callback(torch.set_deterministic_debug_mode, before)
        torch.set_deterministic_debug_mode("error" if facts.deterministic else "default")
        for owner, name, value in flags:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def fastest_(model: Transformer, facts: MachineFacts) -> Transformer:
    """Put what computes fastest here into a model; return the model to train with, which has the same parameters.

    That is the model itself, or on a GPU a compiled one.
    """
    if _has_kernels(facts):
        convert_(model, facts.num_threads, facts.dtype)
        return model
    if facts.dtype == "float8":
        convert_linears_(model.blocks)
    return compile_blocks_(model) if facts.compiled else model


def fastest_updates(facts: MachineFacts) -> PlainUpdates:
    """Return an optimizer's passes as they are fastest here."""
    if facts.device == "cuda":
        return FusedUpdates()
    return KernelUpdates(load_kernels(), facts.num_threads) if _has_kernels(facts) else PlainUpdates()


def _has_kernels(facts: MachineFacts) -> bool:
    return facts.compiled and facts.device == "cpu"
