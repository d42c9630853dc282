from __future__ import annotations

import ctypes
import platform
import subprocess

import pytest
import torch
from operations import OfKernels

from headwater.cpu_kernels import library as module
from headwater.cpu_kernels.library import KernelError, load_kernels

OTHER_PROCESSORS = {"avx2": "x86-64-v3", "sse2": "x86-64"}


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    """The kernels for this processor, from the cache that headwater itself uses."""
    try:
        return load_kernels()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=["this", *OTHER_PROCESSORS])
def any_library(request, library, tmp_path_factory) -> ctypes.CDLL:
    """The kernels for this processor, and what the same text becomes on lesser ones."""
    return library if request.param == "this" else compiled_for(request.param, tmp_path_factory)


def compiled_for(processor: str, tmp_path_factory) -> ctypes.CDLL:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 processor")
    if processor == "avx2" and "AVX" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("this processor has no AVX2")
    path = tmp_path_factory.mktemp("kernels") / f"{processor}.so"
    # -O1: quick to compile, and the text is the same
    flags = [flag for flag in module.FLAGS if not flag.startswith(("-O", "-march"))]
    command = [
        "c++",
        "-O1",
        f"-march={OTHER_PROCESSORS[processor]}",
        *flags,
        *map(str, module.SOURCES),
        "-o",
        str(path),
    ]
    subprocess.run(command, check=True, timeout=200)
    return ctypes.CDLL(str(path))


@pytest.fixture
def ops(library) -> OfKernels:
    return OfKernels(library, num_threads=2)


@pytest.fixture
def any_ops(any_library) -> OfKernels:
    return OfKernels(any_library, num_threads=2)
