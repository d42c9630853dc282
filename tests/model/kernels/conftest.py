from __future__ import annotations

import ctypes
import fcntl
import os
import platform
from pathlib import Path
from tempfile import gettempdir

import pytest
import torch
from operations import OfKernels

from headwater.model.kernels import library as module
from headwater.model.kernels.library import KernelError, load_kernels

OTHER_PROCESSORS = {"avx2": "x86-64-v3", "sse2": "x86-64"}


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    """The kernels for this processor, from the cache that headwater itself uses."""
    try:
        return load_kernels()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=["this", *OTHER_PROCESSORS])
def any_library(request, library) -> ctypes.CDLL:
    """The kernels for this processor, and what the same text becomes on lesser ones."""
    return library if request.param == "this" else compiled_for(request.param)


def compiled_for(processor: str) -> ctypes.CDLL:
    """Return the kernels for another processor, from the same cache; of two processes one compiles."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 processor")
    if processor == "avx2" and "AVX512" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("without AVX-512 this processor's own kernels are those of AVX2, or it has none")
    # -O1: quick to compile, and the text is the same
    flags = [flag for flag in module.FLAGS if not flag.startswith(("-O", "-march"))]
    flags = ("-O1", f"-march={OTHER_PROCESSORS[processor]}", *flags)
    with pytest.MonkeyPatch.context() as patch, open(Path(gettempdir()) / f"kernels-{os.getuid()}.lock", "w") as lock:
        patch.setattr(module, "FLAGS", flags)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return load_kernels()


@pytest.fixture
def ops(library) -> OfKernels:
    return OfKernels(library, num_threads=2)


@pytest.fixture
def any_ops(any_library) -> OfKernels:
    return OfKernels(any_library, num_threads=2)
