"""How a run's ranks lie where the settings leave it open: whole weights where they fit, else the fewest shards that do.

No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headwater.errors import LayoutError
from headwater.forecast.processor_memory import PeakBytes
from headwater.numbers import size
from headwater.ranks.mesh import Layout, Mesh

MARGIN = 1.2
"Of a rank's memory over its forecast: P90 of those on a processor is 1.11, and a system needs some for itself."

NUM_NEAREST = 3  # layouts whose memory is said


def fitting_layout(
    meshes: Sequence[Mesh], num_local: int, needs: Callable[[Mesh], PeakBytes], rank_bytes: float
) -> Layout:
    """Return the first mesh of which a rank fits into `rank_bytes`, with MARGIN; raise LayoutError where none does."""
    tried: list[tuple[float, Mesh]] = []
    for mesh in meshes:
        peak = needs(mesh)
        tried.append((MARGIN * peak.total, mesh))
        if tried[-1][0] <= rank_bytes:
            why = _arithmetic(tried, needs, rank_bytes)
            return Layout(mesh, num_local, f"{mesh.product}: {why}")
    raise LayoutError(
        f"no layout of {meshes[0].world_size} ranks fits: {_arithmetic(tried, needs, rank_bytes)}; start more ranks on "
        "more machines, lower train.microbatch_tokens, set train.recompute to 1 or choose a smaller model; a number "
        "for parallel.shard starts that layout whatever the forecast says"
    )


def _arithmetic(tried: Sequence[tuple[float, Mesh]], needs: Callable[[Mesh], PeakBytes], rank_bytes: float) -> str:
    """Return what a rank has and the NUM_NEAREST layouts that need least of it, the least of them last."""
    nearest = sorted(tried, key=lambda each: -each[0])[-NUM_NEAREST:]
    said = ", ".join(f"{size(need)} with shard = {mesh.shard}" for need, mesh in nearest)
    others = f", {len(tried) - NUM_NEAREST} more layouts tried" if len(tried) > NUM_NEAREST else ""
    return f"a rank has {size(rank_bytes)} and needs {said}{others}: {MARGIN} × ({needs(nearest[-1][1])})"
