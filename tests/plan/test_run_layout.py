"""How a run's ranks lie, and what is refused: settings, ranks and memory in, a layout or an error out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from headwater.core.errors import ConfigError, LayoutError
from headwater.machine.parallel.settings import fewest_ranks, shared_layers
from headwater.machine.ranks.mesh import Layout, Mesh, Place
from headwater.model.count import count_parameters
from headwater.plan import hardware, layout
from headwater.plan.amounts import parse_ranks
from headwater.plan.forecast.device import find_device, read_devices
from headwater.plan.forecast.result import PeakBytes
from headwater.plan.hardware import processor_peak
from headwater.plan.layout import MARGIN, LayoutChoice, layout_here, require_memory_here
from headwater.plan.text_size import token_bytes
from headwater.runfile.run_config import RunConfig, load_run

H100, A100 = (find_device(name, read_devices()) for name in ("H100", "A100-40GB"))
LLAMA = (
    "model.family=llama tokenizer.vocab_size=128256 model.tied_embeddings=false model.head_dim=128 "
    "model.num_kv_heads=8 model.seq_len=8192 train.microbatch_tokens=8192 train.batch_tokens=16777216 "
    "train.half_length_fraction=0 train.recompute=1 machine.dtype=bfloat16 optim.name=adamw "
)
SMALL = f"{LLAMA} model.num_layers=32 model.d_model=4096 model.d_ff=14336 model.num_heads=32 "
LARGE = f"{LLAMA} model.num_layers=126 model.d_model=16384 model.d_ff=53248 model.num_heads=128 "


def run_of(settings: str) -> RunConfig:
    return load_run("first-light", settings.split())[0]


# ---- settings and ranks of H100


FITS, SET = ": a rank has", ", as set by [parallel]"
TOO_FEW, TOO_LARGE = ": a step has {} sequences for {} ranks; ", ": divided weights alone don't fit; "
WHOLE, NONE, TENSOR_1 = f"{SMALL} train.recompute=0 ", "no layout of 8 ranks fits", "parallel.tensor=1 "
LONG = "model.seq_len=131072 train.microbatch_tokens=131072"
DIVIDED = "must be a multiple of microbatch_tokens × replicate × shard = 8192 × "


@pytest.mark.parametrize(
    ("settings", "ranks", "expected", "why"),
    [
        ("", "", Layout(), ""),
        ("parallel.shard=2", "", Layout(Mesh(shard=2), 2), SET),
        ("parallel.shard=2", "4", Layout(Mesh(replicate=2, shard=2), 4), SET),
        ("parallel.replicate=1", "4x2", Layout(Mesh(shard=8), 2), SET),
        # ranks share layers only where none with rows of their own can train the model
        (SMALL, "8", Layout(Mesh(replicate=4, shard=2), 8), FITS),
        (WHOLE, "8", Layout(Mesh(replicate=2, shard=2, tensor=2), 8), TOO_LARGE + FITS[2:]),
        (WHOLE + TENSOR_1, "8", Layout(Mesh(shard=4, context=2), 8), TOO_LARGE + FITS[2:]),
        (f"{WHOLE} parallel.context=2", "8", Layout(Mesh(shard=4, context=2), 8), FITS),
        (f"{SMALL} train.batch_tokens=4194304", "128x8", Layout(Mesh(replicate=512, tensor=2), 8), TOO_FEW + FITS[2:]),
        (LARGE, "2048x8", Layout(Mesh(replicate=256, shard=8, tensor=8), 8), TOO_FEW + FITS[2:]),
        (LARGE + LONG, "2048x8", Layout(Mesh(replicate=128, context=16, tensor=8), 8), TOO_FEW + FITS[2:]),
        # blocks are computed again before layers are shared
        (
            f"{SMALL} train.recompute=auto",
            "8",
            Layout(Mesh(replicate=2, shard=4), 8, recompute=0.5),
            TOO_LARGE + FITS[2:],
        ),
        (
            f"{SMALL} train.recompute=auto",
            "8x1",
            Layout(Mesh(replicate=2, shard=4), 1, recompute=0.5),
            TOO_LARGE + FITS[2:],
        ),
    ],
)
def test_settings_and_ranks_give_a_layout(settings, ranks, expected, why):
    config = run_of(settings)
    found = layout_here(config, parse_ranks(ranks or str(fewest_ranks(config.parallel))), H100)
    assert replace(found, why="") == expected
    rows = config.train.batch_tokens // config.model.seq_len
    assert found.why.startswith(why and expected.product + why.format(rows, expected.mesh.world_size))


@pytest.mark.parametrize(
    ("settings", "ranks", "says"),
    [
        (f"{SMALL} train.microbatch_tokens=524288", "8", "holds one sequence with replicate = 4 × shard = 2"),
        (f"{WHOLE} {TENSOR_1} parallel.context=1", "8", NONE),
        (f"{SMALL} {TENSOR_1} train.batch_tokens=8192 parallel.context=1", "8", DIVIDED + "8"),
        (f"{SMALL} train.batch_tokens=24576 parallel.tensor=4", "8", DIVIDED + "2"),
        (f"{SMALL} train.batch_tokens=73728", "8", DIVIDED + "8"),
        ("train.batch_tokens=4096 train.microbatch_tokens=256", "7", "= 256 × 7"),
    ],
)
def test_what_no_layout_mends_is_refused_with_what_would(settings, ranks, says):
    with pytest.raises(LayoutError) as refused:
        layout_here(run_of(settings), parse_ranks(ranks), H100)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "tensors"),
    [
        ("", [2, 4, 8]),
        ("model.num_kv_heads=2", [2]),
        ("parallel.tensor=4", []),
        ("model.family=gpt2 model.num_kv_heads=32", []),
    ],
)
def test_ranks_divide_the_matrices_of_a_layer_where_these_divide(settings, tensors):
    config = run_of(f"{SMALL} {settings}")
    found = shared_layers(config.parallel, config.model, 16, 8, config.shortest_row)
    alone = [each for each in found if each.size("pipeline", "context") == 1]
    assert [each.size("tensor") for each in alone] == tensors


# ---- the choice itself, by memory that is known


MESHES, GB = [Mesh(replicate=4), Mesh(replicate=2, shard=2), Mesh(shard=4)], 1e9


class Known(LayoutChoice):
    """A choice by memory that is known."""

    def __init__(self, rank_gb, needs):
        super().__init__(run_of(""), 2, H100)
        self.needs, self.rank_bytes = needs, rank_gb * GB


def needs(layout: Layout) -> PeakBytes:
    """Of four ranks 10, 6 and 4 GB."""
    return PeakBytes(process=1 * GB, state=8 * GB / layout.mesh.shard, exchanged=0.0, activations=1 * GB)


@pytest.mark.parametrize(("rank_gb", "shard"), [(12.0, 1), (11.9, 2), (7.2, 2), (7.1, 4), (4.8, 4)])
def test_the_first_layout_that_fits_with_a_margin_is_taken_and_those_before_it_are_said(rank_gb, shard):
    choice = Known(rank_gb, needs)
    found = choice.explained(choice.first(Layout(mesh, 2) for mesh in MESHES))
    assert found.mesh.shard == shard
    tried = [f"{MARGIN * needs(Layout(mesh)).total / GB:.1f}" for mesh in MESHES[: MESHES.index(found.mesh) + 1]]
    assert re.findall(r"(\d+\.\d)0?\sGB with shard", found.why) == tried
    assert f"{8 / shard:.2f}\u00a0GB weights, gradients" in found.why


# ---- memory of this machine


ALIKE = (
    "machine.device=cpu machine.dtype=float32 model.d_model=1024 model.num_layers=24 model.num_heads=16 "
    "model.head_dim=128 train.microbatch_tokens=256 optim.name=adamw "
)


def peak_of(config, mesh: Mesh, num_local: int) -> float:
    return processor_peak(config, "float32", token_bytes(config), Layout(mesh, num_local)).total


def test_ranks_of_one_machine_share_its_memory(monkeypatch):
    config, two = run_of(ALIKE), Place(0, 2, 0, 2)
    whole, halves = (peak_of(config, mesh, 2) for mesh in (Mesh(replicate=2), Mesh(shard=2)))
    alone = run_of(f"{ALIKE} {TENSOR_1} parallel.context=1")
    for run, rank_bytes, mesh, recompute in (
        (config, 1.25 * whole, Mesh(replicate=2), None),
        (config, 1.25 * halves, Mesh(shard=2), None),
        (config, 1.15 * halves, Mesh(shard=2), 0.5),
        (alone, 1.15 * halves, Mesh(shard=2), 0.5),
    ):
        monkeypatch.setattr(layout, "memory_bytes", lambda rank_bytes=rank_bytes: 2 * rank_bytes)
        found = layout_here(run, two)
        assert (found.mesh, found.recompute) == (mesh, recompute), rank_bytes
    with pytest.raises(LayoutError, match="no layout of 2 ranks fits"):
        layout_here(alone.with_layout(Layout(recompute=0.0)), two)


# ---- before anything is prepared, a model is refused that the memory of what it would run on can't hold


@pytest.fixture
def machine(monkeypatch):
    """Set a machine's memory, and that of its GPU where it has one."""

    def set_memory(host_bytes: float, gpu_bytes: float | None) -> None:
        monkeypatch.setattr(layout, "memory_bytes", lambda: host_bytes)
        gpu = None if gpu_bytes is None else replace(H100, memory_bytes=gpu_bytes)
        monkeypatch.setattr(hardware, "gpu_to_use", lambda wanted: None if wanted == "cpu" else gpu)

    return set_memory


MUCH, LITTLE = 1 << 50, 1 << 20
WIDE = "model.d_model=1024 model.num_layers=8 model.num_heads=16 optim.name=adamw "  # not gathered at once


@pytest.mark.parametrize(
    ("device", "host_bytes", "gpu_bytes", "too_small"),
    [
        ("auto", MUCH, None, None),
        ("auto", LITTLE, None, "a process has"),
        ("auto", MUCH, MUCH, None),
        ("auto", MUCH, LITTLE, "a process has"),
        ("cuda", LITTLE, MUCH, "for a save .* this machine has"),
        ("cpu", MUCH, LITTLE, None),
    ],
)
def test_the_memory_that_counts_is_that_of_the_device(machine, device, host_bytes, gpu_bytes, too_small):
    config = run_of(f"machine.device={device}")
    machine(host_bytes, gpu_bytes)
    if too_small is None:
        require_memory_here(config, Layout())
    else:
        with pytest.raises(ConfigError, match=too_small):
            require_memory_here(config, Layout())


@pytest.mark.parametrize(
    ("mesh", "per_parameter"),
    [(Mesh(), 16), (Mesh(replicate=2), 12), (Mesh(shard=2), 8), (Mesh(replicate=2, shard=2), 6)],
)
def test_a_gpu_needs_its_share_of_weights_gradients_and_optimizer_state(machine, mesh, per_parameter):
    """Of AdamW; the copy that a save makes is the host's, once whatever the number of ranks on it."""
    config = run_of(WIDE)
    parameters, ranks = count_parameters(config.model).total, Layout(mesh, mesh.world_size)
    gpu_bytes, host_bytes = 1.1 * per_parameter * parameters, 12 * parameters
    machine(host_bytes, gpu_bytes)
    require_memory_here(config, ranks)
    for too_little, refused in (((host_bytes - 1, gpu_bytes), "for a save"), ((host_bytes, 0.9 * gpu_bytes), "grad")):
        machine(*too_little)
        with pytest.raises(ConfigError, match=refused):
            require_memory_here(config, ranks)


@pytest.mark.parametrize(
    ("mesh", "num_local", "per_parameter"),
    [
        (Mesh(), 1, 2 * 12),
        (Mesh(replicate=2), 2, 2 * 4 + 8 + 12),  # whole weights on both, state once
        (Mesh(shard=4), 4, 24),
        (Mesh(shard=4), 2, 12),
    ],
)
def test_a_machine_needs_what_all_ranks_on_it_hold_and_a_copy_for_saves(machine, mesh, num_local, per_parameter):
    """Of AdamW, beside gradients and sums of ranks."""
    config = run_of(f"{WIDE} machine.device=cpu")
    least = per_parameter * count_parameters(config.model).total
    machine(0.99 * least, None)
    with pytest.raises(ConfigError, match="a process has"):
        require_memory_here(config, Layout(mesh, num_local))
    machine(1.5 * least, None)
    require_memory_here(config, Layout(mesh, num_local))
