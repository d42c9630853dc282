"""Whole weights where they fit, else the fewest shards that do, and the arithmetic of either."""

from __future__ import annotations

import re

import pytest

from headwater.errors import LayoutError
from headwater.forecast.work import PeakBytes
from headwater.ranks.mesh import Layout, Mesh
from headwater.runs.layout import MARGIN, fitting_layout

MESHES = [Mesh(replicate=4), Mesh(replicate=2, shard=2), Mesh(shard=4)]
GB = 1e9


def needs(mesh: Mesh) -> PeakBytes:
    """10, 6 and 4 GB."""
    return PeakBytes(process=1 * GB, state=8 * GB / mesh.shard, exchanged=0.0, activations=1 * GB)


@pytest.mark.parametrize(("rank_gb", "shard"), [(12.0, 1), (11.9, 2), (7.2, 2), (7.1, 4), (4.8, 4)])
def test_the_first_layout_that_fits_with_a_margin_is_taken(rank_gb, shard):
    found = fitting_layout([("", MESHES)], 2, needs, rank_gb * GB)
    assert found.mesh.shard == shard
    assert (found.num_local, found.num_machines) == (2, 2)
    tried = ", ".join(
        f"{MARGIN * needs(mesh).total / GB:.3g}".ljust(3, "0") for mesh in MESHES[: MESHES.index(found.mesh) + 1]
    )
    assert tried.split(", ")[-1].rstrip("0") in found.why.replace("\u00a0", " ")
    assert f"replicate = {4 // shard} × shard = {shard}: a rank has" in found.why
    assert found.why.count("with shard =") == MESHES.index(found.mesh) + 1


def test_what_a_rank_needs_is_said_by_what_takes_it():
    why = fitting_layout([("", MESHES)], 4, needs, 8 * GB).why.replace("\u00a0", " ")
    assert why == (
        "replicate = 2 × shard = 2: a rank has 8.00 GB and needs 12.0 GB with shard = 1, 7.20 GB with shard = 2: "
        "1.2 × (1.00 GB libraries and text + 4.00 GB weights, gradients and optimizer state + 1.00 GB activations)"
    )


def test_where_nothing_fits_every_layout_is_named_with_what_to_change():
    with pytest.raises(LayoutError) as refused:
        fitting_layout([("", MESHES)], 4, needs, 4.7 * GB)
    said = str(refused.value).replace("\u00a0", " ")
    assert "no layout of 4 ranks fits: a rank has 4.70 GB and needs 12.0 GB with shard = 1" in said
    assert "4.80 GB with shard = 4: 1.2 × (1.00 GB libraries and text + 2.00 GB weights" in said
    assert "train.recompute" in said and "parallel.shard" in said


def test_of_many_layouts_the_three_nearest_are_named():
    meshes = [Mesh(replicate=64 // shard, shard=shard) for shard in (1, 2, 4, 8, 16, 32, 64)]
    with pytest.raises(LayoutError) as refused:
        fitting_layout([("", meshes)], 64, needs, 2 * GB)
    said = str(refused.value)
    assert re.findall(r"with shard = (\d+)", said) == ["16", "32", "64"]
    assert ", 4 more layouts tried: 1.2 ×" in said


def test_ranks_share_layers_with_the_reason_where_no_others_fit():
    levels = [("", MESHES), ("that was too much; ", [Mesh(shard=2, tensor=2)]), ("", [Mesh(tensor=4)])]
    why = fitting_layout(levels, 4, lambda mesh: PeakBytes(5 * GB / mesh.tensor, 0.0, 0.0, 0.0), 4 * GB).why
    assert why.startswith(
        "replicate = 1 × shard = 2 × tensor = 2: that was too much; a rank has 4.00\u00a0GB and needs "
    )
    assert "3.00\u00a0GB with shard = 2 × tensor = 2, 1 more layout tried: 1.2 ×" in why


def test_machines_are_counted_whole():
    assert Layout(Mesh(replicate=5), 4).num_machines == 2
    assert Layout().num_machines == 1
