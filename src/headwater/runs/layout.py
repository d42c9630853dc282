"""How a run's ranks lie: by its settings, and where they leave it open by the forecast of their memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from headwater.errors import ConfigError, LayoutError
from headwater.forecast.layout import fitting_layout
from headwater.forecast.processor_memory import PeakBytes
from headwater.host.facts import cpu_flags
from headwater.parallel.settings import fewest_ranks, meshes_of
from headwater.ranks.mesh import DATA_AXES, Layout, Mesh
from headwater.ranks.place import Place
from headwater.runs.enough_memory import gpu_memory_bytes, rank_bytes
from headwater.runs.hardware import processor_dtype, processor_peak, work_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes

if TYPE_CHECKING:
    from headwater.forecast.device import Accelerator
    from headwater.ranks.exchange import Ranks


def layout_here(config: RunConfig, place: Place) -> Layout:
    """Return how the ranks lie as far as this one knows: with the memory that it has, all others alike.

    What is trained, one process may finish in any layout. Raises LayoutError where the ranks don't fill the layout of
    the settings, or no layout fits.
    """
    try:
        meshes = meshes_of(config.parallel, place.world_size, place.local_world_size)
    except LayoutError:
        from headwater.runs.stages import is_trained  # the corpus: no plan needs it

        if place.world_size > 1 or not is_trained(config):
            raise
        meshes = [Mesh()]
    _require_whole_rows(config, meshes[0])
    if len(meshes) == 1 or place.rank:  # another rank than the first learns later what that one decides
        return Layout(meshes[0], place.local_world_size)
    return _fitting(config, meshes, place, rank_bytes(config.machine.device, place.local_world_size))


def planned_layout(config: RunConfig, ranks: str, device: Accelerator | None = None) -> Layout:
    """Return how ranks would lie: "8" on this machine, "4x8" on four like it; of "" the fewest that the settings need.

    `device` is whose memory counts; None: this machine's.

    Raises ConfigError where that names no ranks, and where none of their layouts fits.
    """
    found = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)", ranks or str(fewest_ranks(config.parallel)), re.ASCII)
    if found is None:
        raise ConfigError(f"--ranks {ranks}: give a number of ranks, such as 8, or 4x8: 8 on each of 4 machines")
    num_local = int(found[2])
    place = Place(0, int(found[1] or 1) * num_local, 0, num_local)
    layout = layout_here(config, place) if device is None else _layout_on(device, config, place)
    return layout if layout.why else _as_set(layout.mesh, num_local)


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


def agreed_layout(config: RunConfig, ranks: Ranks) -> Layout:
    """Return how the ranks lie, as the first one decides for the smallest memory of all; they call it together."""
    place = ranks.place
    if place.world_size == 1:
        return Layout()
    meshes = meshes_of(config.parallel, place.world_size, place.local_world_size)
    if len(meshes) == 1:
        return _as_set(meshes[0], place.local_world_size)
    smallest = min(ranks.gather(rank_bytes(config.machine.device, place.local_world_size)))
    found, refusal = None, ""
    if ranks.is_first:
        try:
            found = _fitting(config, meshes, place, smallest)
        except ConfigError as error:
            refusal = str(error)
    sizes, refusal = ranks.from_first([found and asdict(found.mesh), refusal])
    if refusal:
        raise LayoutError(refusal)
    return found or Layout(Mesh(**sizes), place.local_world_size)


def _as_set(mesh: Mesh, num_local: int) -> Layout:
    """Return a layout that the settings leave no choice of."""
    return Layout(mesh, num_local, f"{mesh.product}, as set by [parallel]")


def _fitting(config: RunConfig, meshes: list[Mesh], place: Place, smallest: float) -> Layout:
    """Return the first layout that fits by the forecast; raise ConfigError where none does, or it can't be trained."""
    num_local = place.local_world_size
    if gpu_memory_bytes(config.machine.device) is not None:
        needs = _needs_of_gpus(config, is_compiled=config.machine.compile != "off")
        return fitting_layout(meshes, num_local, needs, smallest)
    dtype, text = processor_dtype(config.machine, cpu_flags()), token_bytes(config)
    return fitting_layout(
        meshes, num_local, lambda mesh: processor_peak(config, dtype, text, Layout(mesh, num_local)), smallest
    )


def _layout_on(device: Accelerator, config: RunConfig, place: Place) -> Layout:
    """Return how ranks would lie that have such a device each."""
    num_local = place.local_world_size
    meshes = meshes_of(config.parallel, place.world_size, num_local)
    if len(meshes) == 1:
        return Layout(meshes[0], num_local)
    needs = _needs_of_gpus(config, is_compiled=False)  # as a simulated step is
    return fitting_layout(meshes, num_local, needs, device.memory_bytes)


def _needs_of_gpus(config: RunConfig, *, is_compiled: bool) -> Callable[[Mesh], PeakBytes]:
    from headwater.forecast.rank_memory import gpu_memory

    return lambda mesh: gpu_memory(work_of(config, Layout(mesh)), is_compiled=is_compiled)
