"""The compiled functions, called with tensors and numbers."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from typing import Any

import torch
from torch import Tensor

from headwater.cpu_kernels.library import SOURCES, KernelError

SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}
DTYPES = {
    "float": torch.float32,
    "bf16": torch.bfloat16,
    "uint16_t": torch.bfloat16,
    "int8_t": torch.int8,
    "int32_t": torch.int32,
    "int64_t": torch.int64,
}


@cache
def declared_dtypes() -> dict[str, tuple[torch.dtype | None, ...]]:
    """Return, for each kernel by its name without hw_, the dtype of each argument, None for a number.

    Read from the sources, where they are declared; DEFINE(T, name) declares a kernel for fp32 and for bf16.
    """
    found: dict[str, tuple[torch.dtype | None, ...]] = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, is_template, arguments in re.findall(r"\bhw_(\w+?)(_##name)?\(([^()]*)\)\s*\{", text):
            types = [re.search(r"(\w+)\s*\*", argument) for argument in arguments.split(",")]
            versions: dict[str, torch.dtype | None] = {name: None}
            if is_template:
                versions = {f"{name}_{suffix}": dtype for dtype, suffix in SUFFIX.items()}
            for version, dtype in versions.items():
                found[version] = tuple(None if one is None else DTYPES.get(one[1], dtype) for one in types)
    return found


class Kernels:
    """The compiled functions, called with tensors and numbers."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._library = library
        self.num_threads = num_threads
        self._multiplies_bf16 = self("weight_gradient_bf16", None, None, None, 0, 0, 0, 0) == 0

    def __call__(self, name: str, *arguments: Tensor | int | float | None) -> int:
        """Call hw_NAME; tensors go as pointers, ints as int64, the last as the thread count.

        A kernel reads memory as what it declares. Tensors of another dtype, or with gaps, are an AssertionError.
        """
        dtypes = declared_dtypes()[name]
        assert len(arguments) == len(dtypes) - 1, f"{name} takes {len(dtypes) - 1} arguments and the threads"
        values = [_argument(value, dtype, name) for value, dtype in zip(arguments, dtypes[:-1], strict=True)]
        return getattr(self._library, f"hw_{name}")(*values, ctypes.c_int(self.num_threads))

    def weight_gradient_(self, gradient: Tensor, dout: Tensor, rows: Tensor, *, fresh: bool) -> None:
        """Write (`fresh`) or add to a gradient (R, C) in fp32 the sum over tokens of dout (N, R) times rows (N, C)."""
        if rows.dtype == torch.bfloat16 and self._multiplies_bf16:
            shape = (dout.shape[0], *gradient.shape)
            self("weight_gradient_bf16", dout.contiguous(), rows.contiguous(), gradient, *shape, int(fresh))
        elif fresh and rows.dtype == gradient.dtype:
            torch.mm(dout.t(), rows, out=gradient)
        elif fresh:
            gradient.copy_(torch.mm(dout.t(), rows))
        else:
            gradient += torch.mm(dout.t(), rows)


def require_plain(tensor: Tensor) -> None:
    """Raise KernelError for a tensor that is spread over several processes (DTensor): its memory isn't its value."""
    if hasattr(tensor, "placements"):
        raise KernelError(
            f'the kernels read plain tensors and found a {type(tensor).__name__}; set machine.compile = "off"'
        )


def _argument(value: Tensor | int | float | None, dtype: torch.dtype | None, name: str) -> Any:
    if isinstance(value, Tensor):
        require_plain(value)
        if value.dtype != dtype or not value.is_contiguous():
            found = f"{value.dtype} of shape {tuple(value.shape)} and strides {value.stride()}"
            raise AssertionError(f"the kernel {name} reads contiguous {dtype} here, and was given {found}")
        return ctypes.c_void_p(value.data_ptr())
    if value is None:
        return ctypes.c_void_p(None)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)
