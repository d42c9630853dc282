"""How a run's ranks lie: by its settings, and where they leave it open by the forecast of their memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from headwater.errors import ConfigError, LayoutError
from headwater.forecast.layout import fitting_layout
from headwater.forecast.processor_memory import PeakBytes
from headwater.host.facts import cpu_flags
from headwater.parallel.settings import fewest_ranks, meshes_of, microbatches_problem
from headwater.ranks.mesh import DATA_AXES, Layout, Mesh
from headwater.ranks.place import Place
from headwater.runs.enough_memory import gpu_memory_bytes, rank_bytes
from headwater.runs.hardware import microbatch_tokens, processor_dtype, processor_peak, work_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes

if TYPE_CHECKING:
    from headwater.forecast.device import Accelerator


def layout_here(config: RunConfig, place: Place, device: Accelerator | None = None) -> Layout:
    """Return how the ranks lie; where that is open, the first one decides it for all by the memory that it has.

    `device` is whose memory counts; None: this machine's. What is trained, one process may finish in any layout. Raises
    LayoutError where the ranks don't fill the layout of the settings, or no layout fits.
    """
    num_local = place.local_world_size
    try:
        meshes = meshes_of(config.parallel, place.world_size, num_local)
    except LayoutError:
        from headwater.runs.stages import is_trained  # the corpus: no plan needs it

        if place.world_size > 1 or not is_trained(config):
            raise
        meshes = [Mesh()]
    _require_whole_rows(config, meshes[0])
    if len(meshes) == 1:
        why = f"{meshes[0].product}, as set by [parallel]" if place.world_size > 1 else ""
        return Layout(meshes[0], num_local, why)
    if place.rank:
        return Layout(meshes[0], num_local)
    limit = rank_bytes(config.machine.device, num_local) if device is None else device.memory_bytes
    return fitting_layout(meshes, num_local, _needs(config, num_local, device), limit)


def planned_layout(config: RunConfig, ranks: str, device: Accelerator | None = None) -> Layout:
    """Return how ranks would lie: "8" on this machine, "4x8" on four like it; of "" the fewest that the settings need.

    Raises ConfigError where that names no ranks, and as `layout_here` does.
    """
    found = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)", ranks or str(fewest_ranks(config.parallel)), re.ASCII)
    if found is None:
        raise ConfigError(f"--ranks {ranks}: give a number of ranks, such as 8, or 4x8: 8 on each of 4 machines")
    num_local = int(found[2])
    return layout_here(config, Place(0, int(found[1] or 1) * num_local, 0, num_local), device)


def _require_whole_rows(config: RunConfig, mesh: Mesh) -> None:
    """Raise LayoutError where the sequences of a step can't be divided among ranks, before anything is prepared."""
    seq_len, batch_tokens, parts = config.model.seq_len, config.train.batch_tokens, mesh.size(*DATA_AXES)
    rows = batch_tokens // seq_len
    if rows % parts:
        raise LayoutError(
            f"a step has train.batch_tokens / model.seq_len = {batch_tokens} / {seq_len} = {rows} sequences, which "
            f"replicate × shard = {parts} ranks can't divide; start as many ranks as divide {rows}, or set "
            f"train.batch_tokens to {-(-rows // parts) * parts * seq_len}"
        )
    num_microbatches = batch_tokens // (parts * microbatch_tokens(config, Layout(mesh)))
    if problem := microbatches_problem(mesh, num_microbatches):
        raise LayoutError(problem)


def _needs(config: RunConfig, num_local: int, device: Accelerator | None) -> Callable[[Mesh], PeakBytes]:
    """Return how much memory a rank needs in a layout."""
    if device is None and gpu_memory_bytes(config.machine.device) is None:
        dtype, text = processor_dtype(config.machine, cpu_flags()), token_bytes(config)
        return lambda mesh: processor_peak(config, dtype, text, Layout(mesh, num_local))
    from headwater.forecast.rank_memory import gpu_memory

    is_compiled = device is None and config.machine.compile != "off"  # a simulated step isn't
    return lambda mesh: gpu_memory(work_of(config, Layout(mesh)), is_compiled=is_compiled)
