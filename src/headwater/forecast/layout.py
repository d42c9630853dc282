"""How a run's ranks lie where the settings leave it open: whole weights where they fit, else the fewest shards that do.

No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headwater.errors import LayoutError
from headwater.forecast.processor_memory import PeakBytes
from headwater.numbers import size
from headwater.ranks.mesh import Mesh

MARGIN = 1.2
"Of a rank's memory over its forecast: P90 of those on a processor is 1.11, and a system needs some for itself."


@dataclass(frozen=True)
class Layout:
    """How ranks lie, how many of them one machine has, and why."""

    mesh: Mesh = field(default_factory=Mesh)
    num_local: int = 1
    why: str = ""

    @property
    def num_machines(self) -> int:
        return -(-self.mesh.world_size // self.num_local)


def fitting_layout(
    meshes: Sequence[Mesh], num_local: int, needs: Callable[[Mesh], PeakBytes], rank_bytes: float
) -> Layout:
    """Return the first mesh of which a rank fits into `rank_bytes`, with MARGIN; raise LayoutError where none does."""
    said: list[str] = []
    for mesh in meshes:
        peak = needs(mesh)
        said.append(f"{size(MARGIN * peak.total)} with shard = {mesh.shard}")
        why = f"a rank has {size(rank_bytes)} and needs {', '.join(said)}: {MARGIN} × ({peak})"
        if MARGIN * peak.total <= rank_bytes:
            return Layout(mesh, num_local, f"replicate = {mesh.replicate} × shard = {mesh.shard}: {why}")
    raise LayoutError(
        f"no layout of {meshes[0].world_size} ranks fits: {why}; start more ranks on more machines, lower "
        "train.microbatch_tokens, set train.recompute to 1 or choose a smaller model; a number for "
        "parallel.shard starts that layout whatever the forecast says"
    )
