"""How a run's ranks lie, and whether its model can be trained so: by its settings and the forecasts of memory and time.

Where the settings leave the layout open: whole weights where they fit, else the fewest shards that do; where none do,
or a step has too few sequences for so many ranks, the first that fits of blocks that are computed again and ranks that
share layers. No torch on a processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headwater.core.errors import ConfigError, LayoutError
from headwater.core.numbers import plural, size
from headwater.machine.host.facts import cpu_flags, memory_bytes
from headwater.machine.parallel.settings import division_problem, meshes_of, shared_layers
from headwater.machine.ranks.mesh import DATA_AXES, Layout, Mesh, Place
from headwater.plan import hardware
from headwater.plan.forecast.rank_memory import gpu_memory
from headwater.plan.forecast.result import PeakBytes, checkpoint_bytes
from headwater.plan.text_size import token_bytes
from headwater.runfile.run_config import RunConfig

if TYPE_CHECKING:
    from headwater.plan.forecast.device import Accelerator

MARGIN = 1.2
"Of a rank's memory over its forecast: P90 of those on a processor is 1.11, and a system needs some for itself."
NUM_NEAREST = 3  # layouts whose memory is said
RECOMPUTED = (0.0, 0.5, 1.0)
"Parts of the blocks that are tried where train.recompute is auto."


def require_memory_here(config: RunConfig, layout: Layout) -> None:
    """Raise ConfigError when the memory that a run's ranks take can't hold its model's state, however small the batch.

    That is what a rank's account counts of it in a step of one sequence. The copy that a save makes is the host's, also
    of a GPU. Nothing is said of a GPU that the table of devices doesn't have.
    """
    try:
        device = hardware.gpu_to_use(config.machine.device)
    except ConfigError:
        return
    one_row = config.with_train(microbatch_tokens=config.model.seq_len)
    choice = LayoutChoice(one_row, layout.num_local, device)
    copy = checkpoint_bytes(config.model, config.optim) / layout.mesh.world_size
    least = [
        ("weights, gradients and optimizer state", choice.needs(layout).state, "a process", choice.rank_bytes),
        ("copies of these for a save", layout.num_local * copy, "this machine", memory_bytes()),
    ]
    for what, need_bytes, where, has_bytes in least:
        if need_bytes > has_bytes:
            raise ConfigError(
                f"{what} need {size(need_bytes)} and {where} has {size(has_bytes)} of memory; lower model.d_model, "
                "model.num_layers or tokenizer.vocab_size"
            )


def layout_here(config: RunConfig, place: Place, device: Accelerator | None = None) -> Layout:
    """Return how the ranks lie; where that is open, the first one decides it for all by the memory that it has.

    `device` is whose memory counts; None: this machine's. Raises LayoutError where the ranks don't fill the layout of
    the settings, or no layout fits; ConfigError where it is open and the table of devices doesn't have the GPU here.
    """
    num_local = place.local_world_size
    meshes = meshes_of(config.parallel, place.world_size, num_local)
    num_rows, num_parts = config.train.batch_tokens // config.model.seq_len, meshes[0].size(*DATA_AXES)
    problem, is_open = _rows_problem(config, meshes[0]), len(meshes) > 1
    if problem and not (is_open and num_rows < num_parts):
        raise LayoutError(problem)
    if not is_open:
        why = f"{meshes[0].product}, as set by [parallel]" if place.world_size > 1 else ""
        return Layout(meshes[0], num_local, why)
    if place.rank:
        return Layout(meshes[0], num_local)
    device = device or hardware.gpu_to_use(config.machine.device)
    choice = LayoutChoice(config, num_local, device)
    why = f"a step has {num_rows} sequences for {place.world_size} ranks; "
    if not problem:
        if apart := choice.first(Layout(mesh, num_local) for mesh in meshes):
            return choice.explained(apart)
        _refuse_microbatch(config, meshes, num_local, device)
        why = "divided weights alone don't fit; "
    groups = list(_groups(config, place, [] if problem else meshes))
    if problem and not groups:
        raise LayoutError(problem)
    return choice.of_groups(groups, why)


def _refuse_microbatch(config: RunConfig, meshes: Sequence[Mesh], num_local: int, device: Accelerator | None) -> None:
    """Raise LayoutError where ranks can't hold their microbatch, but one sequence."""
    seq_len = config.model.seq_len
    one_row = LayoutChoice(config.with_train(microbatch_tokens=seq_len), num_local, device)
    if found := one_row.first(Layout(mesh, num_local) for mesh in meshes):
        raise LayoutError(
            f"a rank can't hold a microbatch of {hardware.work_of(config, found).microbatch_tokens} tokens, but holds "
            f"one sequence with {found.mesh.product}; set train.microbatch_tokens to {seq_len}"
        )


def _groups(config: RunConfig, place: Place, apart: Sequence[Mesh]) -> Iterator[list[Layout]]:
    """Yield layouts that differ in shards alone, the fewest first, the smallest change of all others first.

    They are of ranks `apart`, with rows of their own, that compute blocks again; and of those that share layers.
    """
    sizes = place.world_size, place.local_world_size
    parts = RECOMPUTED if config.train.recompute == "auto" else (None,)
    shared = shared_layers(config.parallel, config.model, *sizes, config.shortest_row)
    for is_shared, meshes in ((False, apart), *((True, meshes_of(parallel, *sizes)) for parallel in shared)):
        if meshes and not _rows_problem(config, meshes[0]):
            for part in parts if is_shared else parts[1:]:
                yield [Layout(mesh, place.local_world_size, recompute=part) for mesh in meshes]


def _rows_problem(config: RunConfig, mesh: Mesh) -> str:
    """Return why the sequences of a step can't be divided among ranks, "" where they can."""
    train, work = config.train, hardware.work_of(config, Layout(mesh))
    return division_problem(mesh, train.batch_tokens, work.microbatch_tokens)


class LayoutChoice:
    """Layouts that are tried one after another, by what a rank needs, with MARGIN.

    `num_local` of the ranks are here. Without a device they are on processors.
    """

    def __init__(self, config: RunConfig, num_local: int, device: Accelerator | None) -> None:
        self.config, self.device, self._refused = config, device, list[tuple[float, Layout]]()
        self.rank_bytes = memory_bytes() / num_local if device is None else device.memory_bytes
        self._text_bytes = token_bytes(config) if device is None else 0.0

    def needs(self, layout: Layout) -> PeakBytes:
        """Return the peak of a rank."""
        found = self.config.with_layout(layout)
        if self.device is None:
            dtype = hardware.processor_dtype(found.machine, cpu_flags())
            return hardware.processor_peak(found, dtype, self._text_bytes, layout)
        return gpu_memory(hardware.work_of(found, layout), is_compiled=found.machine.compile != "off")

    def first(self, layouts: Iterable[Layout]) -> Layout | None:
        """Return the first of which a rank fits."""
        for layout in layouts:
            if (need := MARGIN * self.needs(layout).total) <= self.rank_bytes:
                return layout
            self._refused.append((need, layout))
        return None

    def of_groups(self, groups: Iterable[Iterable[Layout]], why: str) -> Layout:
        """Return the first that fits of the first group that has one; raise LayoutError where none fits."""
        found = next(filter(None, map(self.first, groups)), None)
        if found is None:
            least = min(self._refused, key=lambda each: each[0])[1]
            raise LayoutError(
                f"no layout of {least.mesh.world_size} ranks fits: {self._arithmetic(NUM_NEAREST)}: {MARGIN} × "
                f"({self.needs(least)}); start more ranks on more machines, lower train.microbatch_tokens, set "
                "train.recompute to 1 or choose a smaller model; a number for parallel.shard starts a layout whatever "
                "the forecast says"
            )
        return self.explained(found, why)

    def explained(self, layout: Layout, why: str = "") -> Layout:
        """Return a layout that fits with `why` it is taken, and the arithmetic."""
        peak = self.needs(layout)
        arithmetic = f"{self._arithmetic(NUM_NEAREST - 1, (MARGIN * peak.total, layout))}: {MARGIN} × ({peak})"
        return replace(layout, why=f"{layout.product}: {why}{arithmetic}")

    def _arithmetic(self, most: int, *chosen: tuple[float, Layout]) -> str:
        """Return what a rank has, and needs in those that need least of what doesn't fit and what is chosen."""
        nearest = [*sorted(self._refused, key=lambda each: -each[0])[-most:], *chosen]
        needed = ", ".join(f"{size(need)} with {layout.divisions}" for need, layout in nearest)
        num_others = len(self._refused) + len(chosen) - len(nearest)
        others = f", {plural(num_others, 'more layout')} tried" if num_others else ""
        return f"a rank has {size(self.rank_bytes)} and needs {needed}{others}"
