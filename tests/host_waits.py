"""Count the moments in which the host of a GPU would wait for it, on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default}


class HostWaits(TorchDispatchMode):
    """Counts operations whose result the host must see: a number that is read, a shape that depends on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in LOOKS
        return func(*args, **kwargs or {})
