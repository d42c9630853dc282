"""Whole weights where they fit, else the fewest shards that do, else what is fastest; and the arithmetic of each."""

from __future__ import annotations

import re

import pytest

from headwater.core.errors import LayoutError
from headwater.machine.ranks.mesh import Layout, Mesh
from headwater.plan.forecast.work import PeakBytes
from headwater.plan.layout import MARGIN, Choice

MESHES = [Mesh(replicate=4), Mesh(replicate=2, shard=2), Mesh(shard=4)]
GB = 1e9


def needs(layout: Layout) -> PeakBytes:
    """10, 6 and 4 GB."""
    return PeakBytes(process=1 * GB, state=8 * GB / layout.mesh.shard, exchanged=0.0, activations=1 * GB)


class Known(Choice):
    """A choice by memory and time that are known."""

    def __init__(self, needs, seconds, rank_bytes):
        self.needs, self.seconds, self.rank_bytes, self._refused = needs, seconds, rank_bytes, []


def first(rank_bytes: float, num_local: int = 4, meshes=MESHES) -> Layout:
    choice = Known(needs, lambda layout: 1.0, rank_bytes)
    return choice.explained(choice.first(Layout(mesh, num_local) for mesh in meshes))


def fastest(groups, needs, rank_bytes: float, seconds=lambda layout: 1.0, why: str = "") -> Layout:
    return Known(needs, seconds, rank_bytes).fastest(groups, why)


@pytest.mark.parametrize(("rank_gb", "shard"), [(12.0, 1), (11.9, 2), (7.2, 2), (7.1, 4), (4.8, 4)])
def test_the_first_layout_that_fits_with_a_margin_is_taken(rank_gb, shard):
    found = first(rank_gb * GB, num_local=2)
    assert found.mesh.shard == shard
    assert (found.num_local, found.num_machines) == (2, 2)
    last = f"{MARGIN * needs(found).total / GB:.3g}"
    assert last.rstrip("0") in found.why.replace("\u00a0", " ")
    assert f"replicate = {4 // shard} × shard = {shard}: a rank has" in found.why
    assert found.why.count("with shard =") == MESHES.index(found.mesh) + 1


def test_what_a_rank_needs_is_said_by_what_takes_it():
    assert first(8 * GB).why.replace("\u00a0", " ") == (
        "replicate = 2 × shard = 2: a rank has 8.00 GB and needs 12.0 GB with shard = 1, 7.20 GB with shard = 2: "
        "1.2 × (1.00 GB libraries and text + 4.00 GB weights, gradients and optimizer state + 1.00 GB activations)"
    )


def test_where_nothing_fits_every_layout_is_named_with_what_to_change():
    with pytest.raises(LayoutError) as refused:
        fastest([map(Layout, MESHES)], needs, 4.7 * GB)
    said = str(refused.value).replace("\u00a0", " ")
    assert "no layout of 4 ranks fits: a rank has 4.70 GB and needs 12.0 GB with shard = 1" in said
    assert "4.80 GB with shard = 4: 1.2 × (1.00 GB libraries and text + 2.00 GB weights" in said
    assert "train.recompute" in said and "parallel.shard" in said


def test_of_many_layouts_the_three_nearest_are_named():
    meshes = [Mesh(replicate=64 // shard, shard=shard) for shard in (1, 2, 4, 8, 16, 32, 64)]
    with pytest.raises(LayoutError) as refused:
        fastest([map(Layout, meshes)], needs, 2 * GB)
    said = str(refused.value)
    assert re.findall(r"with shard = (\d+)", said) == ["16", "32", "64"]
    assert ", 4 more layouts tried: 1.2 ×" in said


def test_of_what_fits_the_fastest_is_taken_and_how_much_slower_the_next_one_is_is_said():
    """One that doesn't fit, ranks that share layers, and blocks computed again: 3, 2 and 1 seconds."""
    again, tensor = Layout(Mesh(replicate=2, shard=2), recompute=1.0), Layout(Mesh(shard=2, tensor=2))
    peaks = {again: 3.0, tensor: 2.5}
    groups, seconds = [map(Layout, MESHES), [tensor], [again]], {again: 1.0, tensor: 1.25}
    found = fastest(
        groups, lambda layout: PeakBytes(peaks.get(layout, 5.0) * GB, 0.0, 0.0, 0.0), 4 * GB, seconds.get, "so it is; "
    )
    assert (found.mesh, found.recompute) == (again.mesh, 1.0)
    assert found.why.replace("\u00a0", " ").startswith(
        "replicate = 2 × shard = 2 and train.recompute = 1: so it is; by forecast the fastest of 2 that do, replicate = 1 "
        "× shard = 2 × tensor = 2 takes 1.25 × as long; a rank has 4.00 GB and needs "
    )
    assert "3.60 GB with shard = 2 and train.recompute = 1, 1 more layout tried: 1.2 ×" in found.why.replace(
        "\u00a0", " "
    )


def test_of_equally_fast_layouts_the_smallest_change_is_taken():
    groups = [[Layout(Mesh(tensor=4))], [Layout(Mesh(shard=4), recompute=1.0)]]
    assert fastest(groups, lambda layout: PeakBytes(GB, 0.0, 0.0, 0.0), 4 * GB).mesh == Mesh(tensor=4)


def test_machines_are_counted_whole():
    assert Layout(Mesh(replicate=5), 4).num_machines == 2
    assert Layout().num_machines == 1
