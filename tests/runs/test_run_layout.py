"""How a run's ranks lie: as the first one decides by its memory, and as a plan shows it."""

from __future__ import annotations

import pytest

from headwater.cli.amounts import parse_ranks
from headwater.errors import ConfigError, LayoutError
from headwater.parallel.settings import fewest_ranks
from headwater.ranks.mesh import Layout, Mesh
from headwater.ranks.place import Place
from headwater.runs import layout, load_run
from headwater.runs.hardware import processor_peak, work_of
from headwater.runs.layout import MARGIN, layout_here
from headwater.runs.text_size import token_bytes

ALIKE = [
    "machine.device=cpu",
    "machine.dtype=float32",
    "model.d_model=1024",
    "model.num_layers=24",
    "model.num_heads=16",
    "train.microbatch_tokens=256",
    "optim.name=adamw",
]


@pytest.fixture
def config(tmp_path):
    return load_run("first-light", [*ALIKE, f"runs_dir={tmp_path}"])[0]


def peak_of(config, mesh: Mesh, num_local: int) -> float:
    return processor_peak(config, "float32", token_bytes(config), Layout(mesh, num_local)).total


def test_ranks_of_one_machine_share_its_memory(config, monkeypatch):
    whole, halves = (peak_of(config, mesh, 2) for mesh in (Mesh(replicate=2), Mesh(shard=2)))
    assert 1.25 * halves < MARGIN * whole, "the sizes tell the layouts apart"
    for memory, expected in ((2 * 1.25 * whole, Mesh(replicate=2)), (2 * 1.25 * halves, Mesh(shard=2))):
        monkeypatch.setattr(layout, "memory_bytes", lambda memory=memory: memory)
        assert layout_here(config, Place(0, 2, 0, 2)).mesh == expected
    monkeypatch.setattr(layout, "memory_bytes", lambda: 2 * 1.15 * halves)
    with pytest.raises(LayoutError, match="no layout of 2 ranks fits"):
        layout_here(config, Place(0, 2, 0, 2))


@pytest.mark.parametrize("axis", ["context", "tensor"])
def test_ranks_that_share_the_work_of_a_layer_leave_the_others_to_the_data(axis):
    config, _ = load_run("first-light", [*ALIKE, f"parallel.{axis}=2"])
    mesh = layout_here(config, Place(0, 4, 0, 4)).mesh
    assert (mesh.world_size, mesh.size(axis)) == (4, 2)


def test_a_process_alone_and_a_layout_of_numbers_are_never_judged(config, monkeypatch):
    monkeypatch.setattr(layout, "memory_bytes", lambda: 1)
    assert layout_here(config, Place()).mesh == Mesh()
    numbers, _ = load_run("first-light", [*ALIKE, "parallel.shard=2"])
    assert layout_here(numbers, Place(0, 4, 0, 4)).mesh == Mesh(replicate=2, shard=2)


@pytest.mark.parametrize(
    ("ranks", "settings", "mesh", "num_local", "machines"),
    [
        ("", [], Mesh(), 1, 1),
        ("", ["parallel.shard=2"], Mesh(shard=2), 2, 1),
        ("4", ["parallel.shard=2"], Mesh(replicate=2, shard=2), 4, 1),
        ("4x2", ["parallel.replicate=1"], Mesh(shard=8), 2, 4),
    ],
)
def test_a_plan_has_the_ranks_that_are_named_or_the_fewest_of_the_settings(ranks, settings, mesh, num_local, machines):
    config = load_run("first-light", settings)[0]
    found = layout_here(config, parse_ranks(ranks or str(fewest_ranks(config.parallel))))
    assert (found.mesh, found.num_local, found.num_machines) == (mesh, num_local, machines)


def test_ranks_that_have_the_same_rows_do_not_divide_the_batch():
    config = load_run("first-light", ["train.batch_tokens=65536", "train.microbatch_tokens=8192"])[0]
    alone, shared = (work_of(config, Layout(Mesh(shard=2, **layers))) for layers in ({}, {"context": 2, "tensor": 2}))
    assert shared.num_microbatches == alone.num_microbatches == 4


def test_a_layout_of_numbers_is_said_as_such():
    said = layout_here(load_run("first-light", ["parallel.shard=2"])[0], parse_ranks("4")).why
    assert said == "replicate = 2 × shard = 2, as set by [parallel]"


def test_sequences_of_a_step_that_ranks_cannot_divide_are_refused_before_anything_is_prepared(config):
    rows = config.train.batch_tokens // config.model.seq_len
    assert rows % 7
    with pytest.raises(LayoutError, match=f"= {rows} sequences, which replicate × shard = 7 ranks can't divide"):
        layout_here(config, Place(0, 7, 0, 7))


@pytest.mark.parametrize("ranks", ["0", "two", "2x", "x2", "-1", "2x0", "1.5", "2x2x2"])
def test_what_is_no_number_of_ranks_is_refused(ranks):
    with pytest.raises(ConfigError, match="give a number of ranks, such as 8, or 4x8"):
        parse_ranks(ranks)
