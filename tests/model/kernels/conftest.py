from __future__ import annotations

import ctypes
import fcntl
import platform
import subprocess
from pathlib import Path

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
def any_library(request, library, tmp_path_factory) -> ctypes.CDLL:
    """The kernels for this processor, and what the same text becomes on lesser ones."""
    return library if request.param == "this" else compiled_for(request.param, tmp_path_factory)


def compiled_for(processor: str, tmp_path_factory) -> ctypes.CDLL:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 processor")
    if processor == "avx2" and "AVX512" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("without AVX-512 this processor's own kernels are those of AVX2, or it has none")
    with open(shared_folder(tmp_path_factory) / f"{processor}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = Path(lock.name).with_suffix(".so")
        if not path.exists():
            compile_for(processor, path)
    return ctypes.CDLL(str(path))


def shared_folder(tmp_path_factory) -> Path:
    """Return a folder that all processes of one call of pytest have: what one has compiled, the others load."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-gw") else base


def compile_for(processor: str, path: Path) -> None:
    # -O1: quick to compile, and the text is the same
    flags = [flag for flag in module.FLAGS if not flag.startswith(("-O", "-march"))]
    command = [
        "c++",
        "-O1",
        f"-march={OTHER_PROCESSORS[processor]}",
        *flags,
        *map(str, module.SOURCES),
        "-o",
        str(path.with_suffix(".part")),
    ]
    subprocess.run(command, check=True, timeout=200)
    path.with_suffix(".part").rename(path)


@pytest.fixture
def ops(library) -> OfKernels:
    return OfKernels(library, num_threads=2)


@pytest.fixture
def any_ops(any_library) -> OfKernels:
    return OfKernels(any_library, num_threads=2)
