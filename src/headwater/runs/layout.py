"""How a run's ranks lie, and whether its model can be trained so: by its settings and the forecast of their memory.

Where the settings leave the layout open: whole weights where they fit, else the fewest shards that do; where none do,
or a step has too few sequences for so many ranks, ranks share layers. No torch on a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from headwater.errors import LayoutError
from headwater.forecast.work import PeakBytes, least_of_rank, require_memory
from headwater.host.facts import cpu_flags, gpu_name, memory_bytes
from headwater.numbers import plural, size
from headwater.parallel.settings import meshes_of, microbatches_problem, shared_layers
from headwater.ranks.mesh import DATA_AXES, Layout, Mesh
from headwater.ranks.place import Place
from headwater.runs.hardware import microbatch_tokens, processor_dtype, processor_peak, work_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes

if TYPE_CHECKING:
    from headwater.forecast.device import Accelerator

MARGIN = 1.2
"Of a rank's memory over its forecast: P90 of those on a processor is 1.11, and a system needs some for itself."

NUM_NEAREST = 3  # layouts whose memory is said


def require_memory_here(config: RunConfig, mesh: Mesh | None = None, num_local: int = 1) -> None:
    """Raise ConfigError when the memory that a run takes, a GPU's where it takes one, can't hold its model's state.

    `mesh` says how the run's ranks divide it, `num_local` how many of them this machine has.
    """
    of_rank = least_of_rank(config.model, config.optim, mesh or Mesh(), exact=config.train.exact)
    require_memory(of_rank, num_local, memory_bytes(), gpu_memory_bytes(config.machine.device))


def gpu_memory_bytes(wanted: str) -> int | None:
    """Return the memory of the GPU that a run takes; None where it takes a processor."""
    if wanted == "cpu" or gpu_name() is None:
        return None
    import torch  # where the driver lists a GPU: it takes seconds

    from headwater.device.device import Gpu

    return Gpu().memory_bytes() if torch.cuda.is_available() else None


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
    num_rows, num_parts = config.train.batch_tokens // config.model.seq_len, meshes[0].size(*DATA_AXES)
    problem, is_open = _rows_problem(config, meshes[0]), len(meshes) > 1
    if problem and not (is_open and num_rows < num_parts):
        raise LayoutError(problem)
    if not is_open:
        why = f"{meshes[0].product}, as set by [parallel]" if place.world_size > 1 else ""
        return Layout(meshes[0], num_local, why)
    if place.rank:
        return Layout(meshes[0], num_local)
    levels = _levels(config, place, device, meshes, problem)
    return fitting_layout(levels, num_local, *_memory_of_rank(config, num_local, device))


Level = tuple[str, Sequence[Mesh]]
'Why ranks share layers so, "" where they don\'t, and the layouts of those, the fewest shards first.'


def _levels(
    config: RunConfig, place: Place, device: Accelerator | None, apart: Sequence[Mesh], problem: str
) -> Iterator[Level]:
    """Yield the layouts to try, the smallest change first: of ranks `apart`, with rows of their own; then of others.

    Ranks share layers only where none apart fits with one sequence a microbatch, or a step has too few sequences for
    them, which `problem` says.
    """
    seq_len, num_rows = config.model.seq_len, config.train.batch_tokens // config.model.seq_len

    def fitting(meshes: Sequence[Mesh], **train: float) -> Mesh | None:
        changed = config.train.model_copy(update={"microbatch_tokens": seq_len, **train})
        one_row = config.model_copy(update={"train": changed})
        needs, rank_bytes = _memory_of_rank(one_row, place.local_world_size, device)
        return next((mesh for mesh in meshes if MARGIN * needs(mesh).total <= rank_bytes), None)

    why = f"a step has {num_rows} sequences for {place.world_size} ranks; "
    if not problem:
        yield "", apart
        if mesh := fitting(apart):
            raise LayoutError(
                f"a rank can't hold a microbatch of {microbatch_tokens(config, Layout(mesh))} tokens, but holds one "
                f"sequence with {mesh.product}; set train.microbatch_tokens to {seq_len}"
            )
        why = "divided weights alone don't fit; "
        if not config.train.recompute and (mesh := fitting(apart, recompute=1.0)):
            why = f"divided weights alone don't fit, but {mesh.product} does with train.recompute=1; "
    yield from _sharing_levels(config, place, fitting, apart, why, problem)


def _sharing_levels(
    config: RunConfig,
    place: Place,
    fitting: Callable[[Sequence[Mesh]], Mesh | None],
    apart: Sequence[Mesh],
    why: str,
    problem: str,
) -> Iterator[Level]:
    """Yield the layouts whose ranks share layers, for the reason `why`; a sequence only where it fits none otherwise.

    Raises LayoutError with the `problem` that ranks `apart` have with the sequences of a step, where sharing mends none
    of it.
    """
    sizes, exact = (place.world_size, place.local_world_size), config.train.exact
    found, widest = [], apart
    for parallel in shared_layers(config.parallel, config.model, *sizes, config.shortest_row, exact=exact):
        meshes = meshes_of(parallel, *sizes)
        if parallel.context != config.parallel.context:
            if fitting(widest):
                break
            why = f"a sequence of {config.model.seq_len} tokens fits no rank otherwise; "
        elif parallel.pipeline == config.parallel.pipeline:
            widest, problem = meshes, problem and _rows_problem(config, meshes[0])
        if not _rows_problem(config, meshes[0]):
            found += meshes
            yield why, meshes
    if problem and not found:
        raise LayoutError(problem)


def _rows_problem(config: RunConfig, mesh: Mesh) -> str:
    """Return why the sequences of a step can't be divided among ranks, "" where they can."""
    seq_len, batch_tokens, parts = config.model.seq_len, config.train.batch_tokens, mesh.size(*DATA_AXES)
    rows = batch_tokens // seq_len
    if rows % parts:
        return (
            f"a step has train.batch_tokens / model.seq_len = {batch_tokens} / {seq_len} = {rows} sequences, which "
            f"replicate × shard = {parts} ranks can't divide; start as many ranks as divide {rows}, or set "
            f"train.batch_tokens to {-(-rows // parts) * parts * seq_len}"
        )
    num_microbatches = batch_tokens // (parts * microbatch_tokens(config, Layout(mesh)))
    return microbatches_problem(mesh, num_microbatches)


def _memory_of_rank(
    config: RunConfig, num_local: int, device: Accelerator | None
) -> tuple[Callable[[Mesh], PeakBytes], float]:
    """Return how much memory a rank needs in a layout, and what one of `num_local` here has."""
    rank_bytes = gpu_memory_bytes(config.machine.device) if device is None else device.memory_bytes
    if rank_bytes is None:
        dtype, text = processor_dtype(config.machine, cpu_flags()), token_bytes(config)
        return lambda mesh: processor_peak(config, dtype, text, Layout(mesh, num_local)), memory_bytes() / num_local
    from headwater.forecast.rank_memory import gpu_memory

    is_compiled = config.machine.compile != "off"
    return lambda mesh: gpu_memory(work_of(config, Layout(mesh)), is_compiled=is_compiled), rank_bytes


def fitting_layout(
    levels: Iterable[Level], num_local: int, needs: Callable[[Mesh], PeakBytes], rank_bytes: float
) -> Layout:
    """Return the first mesh of which a rank fits into `rank_bytes`, with MARGIN; raise LayoutError where none does."""
    tried: list[tuple[float, Mesh]] = []
    for why, mesh in ((why, mesh) for why, meshes in levels for mesh in meshes):
        tried.append((MARGIN * needs(mesh).total, mesh))
        if tried[-1][0] <= rank_bytes:
            return Layout(mesh, num_local, f"{mesh.product}: {why}{_arithmetic(tried, needs, rank_bytes)}")
    raise LayoutError(
        f"no layout of {mesh.world_size} ranks fits: {_arithmetic(tried, needs, rank_bytes)}; start more ranks on more "
        "machines, lower train.microbatch_tokens, set train.recompute to 1 or choose a smaller model; a number "
        "for parallel.shard starts that layout whatever the forecast says"
    )


def _arithmetic(tried: Sequence[tuple[float, Mesh]], needs: Callable[[Mesh], PeakBytes], rank_bytes: float) -> str:
    """Return what a rank has and the NUM_NEAREST layouts that need least of it, the least of them last."""
    nearest = sorted(tried, key=lambda each: -each[0])[-NUM_NEAREST:]
    needed = ", ".join(f"{size(need)} with {mesh.divisions}" for need, mesh in nearest)
    others = f", {plural(len(tried) - NUM_NEAREST, 'more layout')} tried" if len(tried) > NUM_NEAREST else ""
    return f"a rank has {size(rank_bytes)} and needs {needed}{others}: {MARGIN} × ({needs(nearest[-1][1])})"
