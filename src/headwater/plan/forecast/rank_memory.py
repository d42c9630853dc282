"""Memory of one rank on a GPU: an account of its tensors at the moments of a step at which it may hold most. No torch.

It counts what a simulated step of a rank holds (its test, decisions/0049): for uncompiled
blocks it was within 2.1 % of that in 39 of 40 layouts, and 11 % over in one (docs/log.md, 2026-11-29). Compiled blocks
fuse their small operations and keep less: what torch's partitioner chooses, none of it measured on a GPU. Along
`context` and `tensor` layers divide as parallel.layers says; of a pipeline the rank counts that holds most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil, prod
from typing import Literal, NamedTuple

from headwater.machine.parallel.boxes import blocks_of, num_recomputed, shape_along_tensor
from headwater.machine.ranks.mesh import STATE_AXES, WEIGHT_AXES, Mesh
from headwater.model.count import Shape, block_shapes, outside_shapes
from headwater.model.optim.settings import owners_by_cost, stack_size, update_cost
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.result import BYTES_PER_VALUE, PeakBytes, StepWork

CONTEXT_BYTES = 1.5e9
"CUDA and NCCL: 1 to 2 GB a process."
SLACK_FRACTION = 0.05
"What an allocator holds beyond the tensors that come and go: planners add 5 to 10 %; not fitted."
LOGIT_BYTES, COMPILED_LOGIT_BYTES = 17, 14
"""Bytes of a logit at the peak of the loss: logits, probabilities, their difference to the target and the error in
fp32, and whether it is the target; compiled bf16, fp32, log-softmax, gradient."""
FEW_LOGIT_BYTES, FEW_ALONG_TENSOR = 10, 6
"While the head's gradient is made: two in fp32, along `tensor` one, and the error in bf16."


@dataclass(frozen=True)
class BlockKernels:
    """How a block is computed. A chunk of the loss has `loss_tokens` (`model.loss`).

    With train.recompute selective the compiler may keep a part of a layer's bytes (`model.compiled`); None: products.
    """

    are_fused: bool
    loss_tokens: int = 2048
    selective_budget: float | None = None


EAGER, COMPILED = BlockKernels(are_fused=False), BlockKernels(are_fused=True, selective_budget=0.5)


class MemoryPart(NamedTuple):
    """Matrices of one shape that are updated together: their numbers, whole and on a rank along `tensor`."""

    whole: int
    held: int
    cost: float
    is_muon: bool


class Division:
    """Numbers of weights as FSDP and the optimizer divide them: `total`, `block` and `outside` are padded to shards.

    They are of the first rank among those at `place` along `pipeline`, which has `layers` of the blocks.

    optimizer_state  Muon keeps one a weight, AdamW two
    look_ahead       of this rank's boxes of the matrices that Muon updates
    own_directions   of the matrices whose directions the first of the ranks with boxes of them computes
    largest_stack    of the matrices that are made orthogonal together
    """

    def __init__(self, model: ModelSettings, rule: str, mesh: Mesh, place: int = 0) -> None:
        self._model, self._mesh, self._shards = model, mesh, mesh.size(*WEIGHT_AXES)
        self.place, self.is_last = place, place == mesh.pipeline - 1
        stages = range(place, mesh.num_stages, mesh.pipeline)
        self._blocks = [blocks_of(stage, mesh.num_stages, model.num_layers) for stage in stages]
        self.layers = sum(map(len, self._blocks))
        outside = {  # which the first and the last place of a pipeline have
            name: shape
            for name, shape in outside_shapes(model).items()
            if (place == 0 if name.startswith(("embed", "positions")) else self.is_last)
        }
        self.block, self.block_vectors = self._padded(block_shapes(model))
        self.outside, self.outside_vectors = self._padded(outside)
        self.total = self.layers * self.block + self.outside
        parts = self._parts(outside, is_muon=rule == "muon")
        own = _of_first(parts, mesh.replicate)
        stacks = [part for part in own if part.is_muon]
        vectors = (self.layers * self.block_vectors + self.outside_vectors) / mesh.replicate
        self.look_ahead = sum(part.held for part in stacks) / self._shards
        self.optimizer_state = 2 * (sum(part.held for part in own) + vectors) / self._shards - self.look_ahead
        self.own_directions = sum(part.whole for part in _of_first(stacks, mesh.size(*STATE_AXES)))
        self.largest_stack = max((part.whole for part in stacks), default=0)
        self.gradient_bytes = BYTES_PER_VALUE * self.total / self._shards
        self.kept_bytes = self.gradient_bytes + BYTES_PER_VALUE * self.optimizer_state  # weights, optimizer state

    def num_recomputed(self, recompute: int | Literal["selective"]) -> int:
        """Return how many of this rank's blocks are recomputed."""
        if recompute == "selective":
            return self.layers
        return sum(num_recomputed(blocks, recompute, self._model.num_layers) for blocks in self._blocks)

    def _padded(self, shapes: dict[str, Shape]) -> tuple[int, int]:
        """Return numbers of a rank along `tensor`, padded to a multiple of the shards; and those of vectors alone."""
        found = [shape_along_tensor(name, shape, self._mesh) for name, shape in shapes.items()]
        sizes = [(len(shape), ceil(shape[0] / self._shards) * self._shards * prod(shape[1:])) for shape in found]
        return sum(size for _, size in sizes), sum(size for num_axes, size in sizes if num_axes == 1)

    def _parts(self, outside: dict[str, Shape], *, is_muon: bool) -> list[MemoryPart]:
        """Return all matrices: those of Muon of one shape as many as are made orthogonal together, else single ones."""
        matrices, alone = self._matrices(block_shapes(self._model)), self._matrices(outside)
        if not is_muon:
            return [_part(*each, 1, False) for each in matrices * self.layers + alone]
        found = list[MemoryPart]()
        for shape, along_tensor in dict.fromkeys(matrices):
            left, size = matrices.count((shape, along_tensor)) * self.layers, stack_size(*shape)
            found += [_part(shape, along_tensor, min(size, left - first), True) for first in range(0, left, size)]
        return found + [_part(*each, 1, False) for each in alone]

    def _matrices(self, shapes: dict[str, Shape]) -> list[tuple[Shape, Shape]]:
        """Return the shapes of matrices, and of what a rank along `tensor` has of them."""
        matrices = [(name, shape) for name, shape in shapes.items() if len(shape) == 2]
        return [(shape, shape_along_tensor(name, shape, self._mesh)) for name, shape in matrices]


def _part(shape: Shape, along_tensor: Shape, count: int, is_muon: bool) -> MemoryPart:
    cost = count * update_cost(shape, prod(shape), is_muon=is_muon)
    return MemoryPart(count * prod(shape), count * prod(along_tensor), cost, is_muon)


def _of_first(parts: list[MemoryPart], num_ranks: int) -> list[MemoryPart]:
    """Return what the first of so many ranks updates."""
    owners = owners_by_cost([part.cost for part in parts], num_ranks)
    return [part for part, owner in zip(parts, owners, strict=True) if owner == 0]


@cache
def division_of(model: ModelSettings, rule: str, mesh: Mesh, place: int = 0) -> Division:
    """Return what doesn't depend on the batch, of which a search tries many."""
    return Division(model, rule, mesh, place)


def gpu_memory(work: StepWork, *, is_compiled: bool) -> PeakBytes:
    """Return the peak of a rank's device, at whichever moment it holds most; of a pipeline of the fullest rank's."""
    return fullest_peak(work, COMPILED if is_compiled else EAGER)


def fullest_peak(work: StepWork, kernels: BlockKernels) -> PeakBytes:
    """Return the most that a rank holds, of a pipeline the fullest one."""
    make, places = Moments if work.mesh.pipeline == 1 else StageMoments, work.mesh.differing_places
    of_ranks = [division_of(work.model, work.optim.name, work.mesh, place) for place in places]
    peaks = (max(make(work, each, kernels).all(), key=lambda moment: moment.tensors) for each in of_ranks)
    return max(peaks, key=lambda each: each.total)


class Moments:
    """The moments of a step at which a rank may hold most."""

    def __init__(self, work: StepWork, of_rank: Division, kernels: BlockKernels) -> None:
        self.work, self.model, self.of_rank, self.kernels = work, work.model, of_rank, kernels
        mesh = work.mesh
        self.tokens, self.value_bytes = work.layer_tokens, work.value_bytes
        self.shards = mesh.size(*WEIGHT_AXES)
        self.is_divided = self.shards > 1
        self.parts = 1 if mesh.gathers_once(4 * of_rank.total) else self.shards  # of weights between two passes
        self.arriving = 4 * of_rank.block * (self.parts > 1)  # for a block's pass
        self.stream = self.value_bytes * self.tokens * self.model.d_model  # gathered, of which a rank has a part
        self.part = self.stream / mesh.tensor
        self.vocabulary = self.model.vocab_size // mesh.tensor
        self.head = 4 * self.vocabulary * self.model.d_model  # of its gradient
        self.layers = of_rank.layers
        self.again = of_rank.num_recomputed(work.recompute)
        self.whole = self.tokens * kept_by_block(work, kernels.are_fused)
        # a block's matrices in bf16, which the backward pass needs, compiled or not
        self.casts = 0 if self.value_bytes == 4 else 2 * (of_rank.block - of_rank.block_vectors)

    def all(self) -> Iterator[PeakBytes]:
        last = self.layers - 1
        yield self.at_loss()
        for block in {last, max(0, last - 1), 0}:
            yield self.in_block(block)
        yield self.after_blocks()
        yield self.in_update()

    def _peak(self, gradients: float, exchanged: float, activations: float) -> PeakBytes:
        """Return what is held at a moment: these beside weights and optimizer state."""
        slack = SLACK_FRACTION * (exchanged + activations)
        return PeakBytes(CONTEXT_BYTES, self.of_rank.kept_bytes + gradients, exchanged, activations, slack)

    def at_loss(self) -> PeakBytes:
        """Between the passes: what all blocks keep, a chunk of logits, the head's gradient and its copies.

        FSDP still has the last block's weights as they came, and keeps those outside of the blocks.
        """
        vocabulary, chunk = self.vocabulary, min(self.tokens, self.kernels.loss_tokens)
        of_chunk = self.value_bytes * vocabulary * self.model.d_model  # the head's gradient of a chunk
        is_divided = self.work.mesh.tensor > 1  # whose loss isn't compiled
        logits = COMPILED_LOGIT_BYTES * chunk * vocabulary
        if not self.kernels.are_fused or is_divided:
            few = (FEW_ALONG_TENSOR if is_divided else FEW_LOGIT_BYTES) * chunk * vocabulary
            logits = max(LOGIT_BYTES * chunk * vocabulary, few + of_chunk)
        cast = {"float32": 0, "int8": 1.5 * of_chunk}.get(self.work.dtype, of_chunk)  # int8 beside bf16
        before = of_chunk if self.tokens > chunk else 0
        loss = self.head + cast + before + logits + 2 * self.stream
        kept = self._kept(self.layers) + self.tokens * kept_by_norm(self.work, self.kernels.are_fused)
        return self._peak(self._earlier, self._gathered + self.arriving, kept + loss)

    def in_block(self, block: int) -> PeakBytes:
        """In the backward pass of a block's MLP, which has just been recomputed where it isn't kept.

        Of divided weights the block's are gathered, those of the next one on their way, and gradients of the last one.
        """
        copies = 1 + (block > 0) + (block < self.layers - 1)
        d_ff = self.model.d_ff // self.work.mesh.tensor
        of_down = 4 * d_ff * self.model.d_model  # the gradient of its last matrix, copied to be kept
        of_middle = self.value_bytes * self.tokens * d_ff
        working = self.whole + self.casts + self.stream + self.part + max(of_down, 2 * of_middle)
        done = 4 * (self.layers - 1 - block) * self.of_rank.block / self.shards
        gradients = self._earlier or done
        if self.is_divided or self.model.tied_embeddings or not self._earlier:
            gradients += self.head  # waits for the embedding's, or to be summed
        return self._peak(gradients + of_down, self._gathered + copies * self.arriving, self._kept(block) + working)

    def after_blocks(self) -> PeakBytes:
        """At the end of the backward pass, with the gradient of the embedding, to which a tied head's is added."""
        gradients, is_tied = self.of_rank.gradient_bytes, self.model.tied_embeddings
        if self.is_divided:
            of_tables = (3 if is_tied else 2) * self.head
            return self._peak(gradients + of_tables, self._gathered + 4 * self.of_rank.block, 0.0)
        more = (2 if is_tied else 0) + (1 if self._earlier else 0)
        return self._peak(gradients + more * self.head, 0.0, 0.0)

    def in_update(self) -> PeakBytes:
        """In Muon's update: copies of a stack; of divided weights of all matrices that are sent or made orthogonal.

        What AdamW needs besides its state isn't worth a term. Along `tensor` alone, in fp32, five copies were held
        where this counts six: 11 % too much of the one layout in which that is the peak (docs/log.md).
        """
        of_rank, swapped = self.of_rank, 0.0
        if self.work.mesh.size(*STATE_AXES) > 1 and self.work.optim.name == "muon":
            swapped = self.value_bytes * (2 * of_rank.look_ahead + 4 * of_rank.own_directions)
        stack = 0 if swapped else 4 * self.value_bytes * of_rank.largest_stack
        return self._peak(of_rank.gradient_bytes, swapped, stack)

    @property
    def _earlier(self) -> float:
        """Gradients of the microbatches before."""
        return 4 * self.of_rank.total / self.parts if self.work.num_microbatches > 1 else 0.0

    @property
    def _gathered(self) -> float:
        """Weights that stay gathered between their passes: those outside of the blocks, of small models all."""
        return 4 * (self.of_rank.total if self.parts == 1 else self.of_rank.outside) * self.is_divided

    def _kept(self, num_blocks: int) -> float:
        """Return what the first blocks keep: their inputs alone where they are recomputed, products where selective."""
        again = min(self.again, num_blocks)
        left, whole = self.part, self.whole + self.casts
        if self.work.recompute == "selective":
            budget = self.kernels.selective_budget
            left = budget * whole if budget else left + self.tokens * products(self.work)
        return again * left + (num_blocks - again) * whole


ACTIVE_STAGES = 3  # of a rank, whose divided weights torch's schedules have gathered at a time


class StageMoments(Moments):
    """The same for a rank of a pipeline, between a microbatch's passes: those of other microbatches keep theirs.

    Divided weights stay gathered for all microbatches of a round, whose gradients pile up whole. torch's stages have a
    place for what each microbatch receives, and keep what they send until its backward pass.
    """

    def all(self) -> Iterator[PeakBytes]:
        if self.of_rank.is_last:
            yield self.at_loss()
        yield self.in_block(self.layers - 1)
        yield self.in_update()

    def at_loss(self) -> PeakBytes:
        found = super().at_loss()
        return self._peak(self._earlier, self._gathered, found.activations + self._of_others)

    def in_block(self, block: int) -> PeakBytes:
        working = super().in_block(block).activations
        return self._peak(self._earlier, self._gathered, working + self._of_others)

    @property
    def _earlier(self) -> float:
        """Gradients that pile up: divided ones of one stage, where each has all its microbatches in one round."""
        mesh = self.work.mesh
        is_by_stage = self.is_divided and self.work.num_microbatches < 2 * mesh.pipeline
        return 4 * self.of_rank.total / (mesh.stages_per_rank if is_by_stage else 1)

    @property
    def _gathered(self) -> float:
        active = min(1.0, ACTIVE_STAGES / self.work.mesh.stages_per_rank)
        return 4 * self.of_rank.total * active if self.is_divided else 0.0

    @cached_property
    def _of_others(self) -> float:
        """What microbatches keep besides the one at work, and what is received and sent."""
        mesh, times, place = self.work.mesh, self.work.num_microbatches, self.of_rank.place
        stages, ahead = mesh.stages_per_rank, min(times, mesh.pipeline - place)  # passes of stages under way
        if stages > 1:
            ahead = min(times * stages, (stages - 1) * mesh.pipeline + 2 * (mesh.pipeline - place - 1) + 1)
        received = times * (2 * stages - (place == 0) - self.of_rank.is_last)
        sent = ahead * (place == 0) / stages  # less what a stage's first block keeps, which is what was received
        return (ahead / stages - 1) * self._kept(self.layers) + (received + sent) * self.part


def kept_by_norm(work: StepWork, is_compiled: bool) -> float:
    """Return what a norm keeps of a token: its input in fp32, that over its scale, and its result, gathered."""
    of_input = work.value_bytes
    if not is_compiled:
        of_input = 4 if work.model.family == "gpt2" else 8  # torch's layer norm keeps no more than its input
    return (of_input / work.mesh.tensor + work.value_bytes) * work.model.d_model


def kept_by_block(work: StepWork, is_compiled: bool) -> float:
    """Return what a block's forward pass keeps of a token that this rank's layers compute with."""
    model, value_bytes, mesh = work.model, work.value_bytes, work.mesh
    query, num_keys = model.num_heads * model.head_dim // mesh.tensor, model.num_kv_heads // mesh.tensor
    key, normed = model.head_dim * num_keys, query + model.head_dim * num_keys
    swapped = 0
    if mesh.context > 1:  # keys as many as ranks at least; attention's output also as it is swapped back
        key, swapped = model.head_dim * max(num_keys, mesh.context), query
    d_ff = model.d_ff // mesh.tensor
    if is_compiled:
        ends = (1 - 1 / mesh.tensor) * 2 * model.d_model  # inputs of the norms are parts
        # what a fused layer's backward pass needs (after arXiv:2205.05198, section 4): inputs of the norms and of the
        # projections after them; queries, keys, values, flash attention's output; the MLP's products
        values = 4 * model.d_model + 2 * query + 2 * key + (2 if model.family == "gpt2" else 3) * d_ff
        # before the norms of heads
        return value_bytes * (values - ends + swapped + (normed if model.family == "qwen3" else 0))
    log_sums = 4 * model.num_heads // mesh.tensor
    attention = value_bytes * (2 * query + 2 * key + swapped) + log_sums
    head_norms = 8 * normed if model.family == "qwen3" else 0
    # what goes into the nonlinearity and comes out; gate, up, their product
    middle = 2 if model.family == "gpt2" else 4
    return 2 * kept_by_norm(work, False) + attention + head_norms + middle * value_bytes * d_ff


def products(work: StepWork) -> int:
    """Return what a block keeps of a token whose products alone are kept: their outputs."""
    model, outputs = work.model, 1 if work.model.family == "gpt2" else 2
    heads = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    divided = heads + outputs * model.d_ff  # the others are sums, which aren't scattered yet
    return work.value_bytes * (divided // work.mesh.tensor + 2 * model.d_model)
