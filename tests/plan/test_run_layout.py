"""How a run's ranks lie: as the first one decides by its memory, and as a plan shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.core.errors import ConfigError, LayoutError
from headwater.machine.parallel.settings import fewest_ranks, shared_layers
from headwater.machine.ranks.mesh import Layout, Mesh
from headwater.machine.ranks.place import Place
from headwater.plan import layout
from headwater.plan.amounts import parse_ranks
from headwater.plan.forecast.device import find_device, read_devices
from headwater.plan.forecast.processor import PROBE_BYTES
from headwater.plan.hardware import Gpus, hardware_of, processor_peak, work_of
from headwater.plan.layout import MARGIN, layout_here
from headwater.plan.text_size import token_bytes
from headwater.runfile.run_config import load_run

ALIKE = [
    "machine.device=cpu",
    "machine.dtype=float32",
    "model.d_model=1024",
    "model.num_layers=24",
    "model.num_heads=16",
    "model.head_dim=128",
    "train.microbatch_tokens=256",
    "optim.name=adamw",
]


@pytest.fixture
def config(tmp_path):
    return load_run("first-light", [*ALIKE, f"runs_dir={tmp_path}"])[0]


def peak_of(config, mesh: Mesh, num_local: int) -> float:
    return processor_peak(config, "float32", token_bytes(config), Layout(mesh, num_local)).total


def test_only_a_run_with_the_almanac_is_forecast_to_hold_its_probes(config):
    def probes_bytes(config) -> float:
        with_probes, without = (peak_of(config.with_train(num_probes=num), Mesh(), 1) for num in (9, 0))
        return with_probes - without

    sources = {name: source for name, source in config.corpus.sources.items() if source.builtin != "almanac"}
    own = config.model_copy(update={"corpus": config.corpus.model_copy(update={"sources": sources})})
    assert (probes_bytes(config), probes_bytes(own)) == (PROBE_BYTES, 0)


def test_ranks_of_one_machine_share_its_memory(config, monkeypatch):
    whole, halves = (peak_of(config, mesh, 2) for mesh in (Mesh(replicate=2), Mesh(shard=2)))
    assert 1.25 * halves < MARGIN * whole, "the sizes tell the layouts apart"
    for memory, expected in ((2 * 1.25 * whole, Mesh(replicate=2)), (2 * 1.25 * halves, Mesh(shard=2))):
        monkeypatch.setattr(layout, "memory_bytes", lambda memory=memory: memory)
        assert layout_here(config, Place(0, 2, 0, 2)).mesh == expected
    monkeypatch.setattr(layout, "memory_bytes", lambda: 2 * 1.15 * halves)
    assert layout_here(config, Place(0, 2, 0, 2)).mesh == Mesh(tensor=2)
    alone = config.model_copy(update={"parallel": config.parallel.model_copy(update={"tensor": 1, "context": 1})})
    again = layout_here(alone, Place(0, 2, 0, 2))
    assert (again.mesh, again.recompute) == (Mesh(shard=2), 0.5)
    with pytest.raises(LayoutError, match="no layout of 2 ranks fits"):
        layout_here(alone.with_layout(Layout(recompute=0.0)), Place(0, 2, 0, 2))


H100, A100 = (find_device(name, read_devices()) for name in ("H100", "A100-40GB"))
LLAMA = [
    "model.family=llama",
    "tokenizer.vocab_size=128256",
    "model.tied_embeddings=false",
    "model.head_dim=128",
    "model.num_kv_heads=8",
    "model.seq_len=8192",
    "train.microbatch_tokens=8192",
    "train.batch_tokens=16777216",
    "train.half_length_fraction=0",
    "train.recompute=1",
    "machine.dtype=bfloat16",
    "optim.name=adamw",
]
SMALL = [*LLAMA, "model.num_layers=32", "model.d_model=4096", "model.d_ff=14336", "model.num_heads=32"]
LARGE = [*LLAMA, "model.num_layers=126", "model.d_model=16384", "model.d_ff=53248", "model.num_heads=128"]
LONG = ["model.seq_len=131072", "train.microbatch_tokens=131072"]
DEEP = ["model.family=gpt2", "tokenizer.vocab_size=32768", "model.tied_embeddings=false", "model.num_layers=64"]
DEEP += ["model.d_model=4096", "model.num_heads=32", "model.seq_len=512", "train.microbatch_tokens=512"]
DEEP += ["train.batch_tokens=131072", "train.recompute=1", "optim.name=muon", "machine.dtype=bfloat16"]
TOO_FEW, TOO_LARGE = "a step has {} sequences for {} ranks; ", "divided weights alone don't fit; "
FASTEST = "by forecast the fastest of "


@pytest.mark.parametrize(
    ("settings", "ranks", "device", "mesh", "why"),
    [
        (SMALL, "8", H100, Mesh(replicate=4, shard=2), "a rank has"),
        ([*SMALL, "train.recompute=0"], "8", H100, Mesh(replicate=2, shard=2, tensor=2), TOO_LARGE + FASTEST),
        (
            [*SMALL, "train.batch_tokens=4194304"],
            "128x8",
            H100,
            Mesh(replicate=512, tensor=2),
            TOO_FEW.format(512, 1024) + FASTEST,
        ),
        (
            LARGE,
            "2048x8",
            H100,
            Mesh(pipeline=64, replicate=32, tensor=8),
            TOO_FEW.format(2048, 16384) + FASTEST,
        ),
        (
            [*SMALL, "train.recompute=0", "parallel.tensor=1"],
            "8",
            H100,
            Mesh(shard=4, context=2),
            TOO_LARGE + FASTEST,
        ),
        (
            [*LARGE, *LONG],
            "2048x8",
            H100,
            Mesh(replicate=128, context=16, tensor=8),
            TOO_FEW.format(128, 16384) + "a rank has",
        ),
        (DEEP, "8x1", A100, Mesh(pipeline=8), TOO_LARGE + "a rank has"),
    ],
)
def test_ranks_share_layers_only_where_none_with_own_rows_can_train_the_model(settings, ranks, device, mesh, why):
    found = layout_here(load_run("first-light", settings)[0], parse_ranks(ranks), device)
    assert found.mesh == mesh
    assert found.why.startswith(f"{mesh.product}: {why}"), found.why


@pytest.mark.parametrize(
    ("ranks", "mesh", "recompute", "slower"),
    [
        ("8", Mesh(replicate=2, shard=2, tensor=2), 0.0, Layout(Mesh(replicate=4, shard=2), 8, recompute=1.0)),
        ("8x1", Mesh(replicate=4, shard=2), 1.0, Layout(Mesh(replicate=2, shard=4), 1, recompute=0.5)),
    ],
)
def test_where_memory_leaves_a_choice_the_forecast_of_time_decides(ranks, mesh, recompute, slower):
    config = load_run("first-light", [*SMALL, "train.recompute=auto"])[0]
    found = layout_here(config, parse_ranks(ranks), H100)
    assert (found.mesh, found.recompute) == (mesh, recompute)
    seconds, of_slower = (Gpus(each, H100).modelled(config.with_layout(each)) for each in (found, slower))
    assert seconds < of_slower
    fixed = load_run("first-light", [*SMALL, "train.recompute=0"])[0]
    assert layout_here(fixed, parse_ranks("8"), H100).recompute is None, "a number is kept"


def test_ranks_of_a_pipeline_wait_no_longer_over_slower_links():
    config, pipeline = load_run("first-light", DEEP)[0], Layout(Mesh(pipeline=8), 1)
    slow = Gpus(pipeline, replace(A100, network=A100.network / 10))
    usual = Gpus(pipeline, A100)
    assert slow.modelled(config) > usual.modelled(config)
    assert slow.waiting_seconds(config) == usual.waiting_seconds(config) > 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            ["train.microbatch_tokens=524288"],
            "but holds one sequence with replicate = 4 × shard = 2; set train.microbatch_tokens",
        ),
        (["train.recompute=0", "parallel.tensor=1", "parallel.context=1"], "no layout of 8 ranks fits"),
        (["train.recompute=0", "train.exact=true", "train.microbatch_tokens=8192"], "no layout of 8 ranks fits"),
        (
            ["train.batch_tokens=8192", "parallel.tensor=1", "parallel.context=1"],
            "must be a multiple of microbatch_tokens × replicate × shard = 8192 × 8",
        ),
        (
            ["train.batch_tokens=24576", "parallel.tensor=4"],
            "must be a multiple of microbatch_tokens × replicate × shard = 8192 × 2",
        ),
        (["train.batch_tokens=73728"], "must be a multiple of microbatch_tokens × replicate × shard = 8192 × 8"),
    ],
)
def test_what_no_shared_layers_mend_is_refused_with_what_would(settings, says):
    config = load_run("first-light", [*SMALL, *settings])[0]
    with pytest.raises(LayoutError) as refused:
        layout_here(config, parse_ranks("8"), H100)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "tensors"),
    [
        ([], [2, 4, 8]),
        (["model.num_kv_heads=2"], [2]),
        (["parallel.tensor=4"], []),
        (["model.family=gpt2", "model.num_kv_heads=32"], []),
        (["train.exact=true"], []),
    ],
)
def test_ranks_divide_the_matrices_of_a_layer_where_these_divide(settings, tensors):
    config = load_run("first-light", [*SMALL, *settings])[0]
    found = shared_layers(config.parallel, config.model, 16, 8, config.shortest_row, exact=config.train.exact)
    alone = [each for each in found if each.size("pipeline", "context") == 1]
    assert [each.size("tensor") for each in alone] == tensors


@pytest.mark.parametrize(("tied", "pipelines"), [("false", [2, 4]), ("true", [])])
def test_stages_are_whole_machines_and_never_of_tied_embeddings(tied, pipelines):
    config = load_run("first-light", [*SMALL, f"model.tied_embeddings={tied}"])[0]
    found = shared_layers(config.parallel, config.model, 32, 8, config.shortest_row, exact=False)
    assert [each.size("pipeline") for each in found if each.size("pipeline") > 1] == pipelines
    assert {each.size("tensor") for each in found if each.size("pipeline", "context") > 1} == {8}


def test_a_plan_says_how_long_a_pipelines_ranks_wait_and_counts_none_of_it():
    """7 of 14 + 7 times of a microbatch: what counts it comes no nearer to published steps (docs/decisions/0051)."""
    config = load_run("first-light", [*SMALL, "train.batch_tokens=917504"])[0]
    waiting, apart = (
        hardware_of(config, ranks=Layout(mesh, 8), device=H100) for mesh in (Mesh(pipeline=8, shard=8), Mesh(shard=64))
    )
    assert "; ranks of the pipeline wait 33% of a step" in waiting.needs(config).step_how
    assert "wait" not in apart.needs(config).step_how


def test_an_axis_with_a_number_keeps_it():
    for number in (1, 2):
        config = load_run("first-light", [*SMALL, "train.recompute=0", f"parallel.context={number}"])[0]
        assert layout_here(config, parse_ranks("2x8"), H100).mesh.context == number


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
    with pytest.raises(LayoutError, match="must be a multiple of microbatch_tokens × replicate × shard"):
        layout_here(config, Place(0, 7, 0, 7))


@pytest.mark.parametrize("ranks", ["0", "two", "2x", "x2", "-1", "2x0", "1.5", "2x2x2"])
def test_what_is_no_number_of_ranks_is_refused(ranks):
    with pytest.raises(ConfigError, match="give a number of ranks, such as 8, or 4x8"):
        parse_ranks(ranks)
