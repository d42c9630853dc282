"""A step's gradient, now and then computed a second time beside it without rounding to int8."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.machine.parallel.data_parallel import DataParallel, gradients_of, norms
from headwater.model.kernels.convert import unrounded
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import Batch

NumTargets = int | Tensor  # of a step: a number, or of several ranks a tensor on the device


def sum_gradients(
    model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
) -> Tensor:
    """Leave the gradient of a whole step at the parameters; return this rank's summed loss, fp64 on the device."""
    if parallel.pipeline is not None:
        loss_total = parallel.pipeline.gradients(microbatches, num_targets)
    else:
        loss_total = torch.zeros((), dtype=torch.float64, device=parallel.device.torch_device)
        for number, batch in enumerate(microbatches, 1):
            parallel.gradients.begin_(model, is_last=number == len(microbatches))
            loss_sum = model(*map(parallel.device.place, (batch.tokens_BT, batch.documents_BT, batch.targets_BT)))
            (loss_sum / num_targets).backward()
            loss_total += loss_sum.detach()
    parallel.gradients.reduce_(model)
    return loss_total


Compute = Callable[[Transformer, DataParallel, list[Batch], NumTargets], Tensor]
"Compute a step's gradient, as `sum_gradients` does."


class GradientCheck:
    """Stands for `sum_gradients` in a step whose gradient is compared with that of bfloat16, unless it is that."""

    error: float | None = None
    """Distance of the two over the norm of bfloat16's, of the block matrix where it is largest: Muon's updates of all
    are of one scale, however small their gradients."""

    def __call__(
        self, model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
    ) -> Tensor:
        without_rounding = unrounded(model)
        if without_rounding is None:
            return sum_gradients(model, parallel, microbatches, num_targets)
        with without_rounding:
            sum_gradients(model, parallel, microbatches, num_targets)
        expected = _matrices(model)
        model.zero_grad(set_to_none=True)
        loss = sum_gradients(model, parallel, microbatches, num_targets)
        found = _matrices(model)
        lengths = norms(expected, parallel.ranks)
        for name, tensor in expected.items():
            tensor.sub_(found[name])  # in place: copies would be as large as all gradients
        distances = norms(expected, parallel.ranks)
        largest = (distances / lengths).nan_to_num().max()  # 0 / 0: no gradient yet
        (self.error,) = parallel.device.read(parallel.ranks.along("pipeline").max_(largest))
        return loss


def _matrices(model: Transformer) -> dict[str, Tensor]:
    """Return this rank's part of the gradients of the blocks' matrices."""
    named = gradients_of(model)
    matrices = [name for name, one in model.named_parameters() if name.startswith("blocks.") and one.ndim == 2]
    return {name: named[name] for name in matrices if name in named}
