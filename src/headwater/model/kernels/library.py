"""Compile the kernels for this processor, once, and load them."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

import torch  # before the library: both must use the one OpenMP runtime that torch brings

from headwater.core.errors import HeadwaterError

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("*.cpp"))
HEADERS = sorted(FOLDER.glob("*.h"))
COMPILERS = ("g++", "c++", "clang++")
# no -ffast-math: infinities must stay infinities, and sums keep the order in which they are written
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
FULL_VECTORS = "-mprefer-vector-width=512"  # x86 compilers use half of AVX-512 otherwise; unknown elsewhere
COMPILE_SECONDS = 120
MAX_HEAD_DIM = 256  # of attention.cpp


class KernelError(HeadwaterError):
    """The kernels can't be compiled or loaded here."""


def load_kernels(cache: Path | None = None) -> ctypes.CDLL:
    """Return the kernels as a library, compiled if no earlier compilation for this source and processor is cached.

    A compiled file is named by what decided it and by its own digest: one rename commits both, and a damaged file is
    known, and compiled again, before any of it runs. The first compiler on the path that works is used.
    Raises KernelError with the first compiler's telling line where none does.
    """
    compilers = [path for name in COMPILERS if (path := shutil.which(name))]
    if not compilers:
        raise KernelError(f"no C++ compiler ({', '.join(COMPILERS)}) is on the path")
    folder, errors = _private_folder(cache), list[Exception]()
    for compiler in compilers:
        try:
            deciding = _digest(compiler)
            return ctypes.CDLL(str(_whole_library(folder, deciding) or _compile(compiler, folder, deciding)))
        except OSError as error:
            errors.append(KernelError(f"the kernels compiled by {compiler} can't be loaded: {error}"))
        except KernelError as error:
            errors.append(error)
    raise errors[0]


def kernels_work(head_dim: int) -> tuple[bool, str]:
    """Return whether there are kernels here, and a sentence that says what of a model stays PyTorch's own and why."""
    try:
        load_kernels()
    except KernelError as error:
        return False, f"no kernels for this processor ({error}); running PyTorch's own operations, more slowly"
    if head_dim > MAX_HEAD_DIM:
        return True, (
            f"no kernel for heads of width {head_dim}, over {MAX_HEAD_DIM} (model.head_dim); attention runs PyTorch's "
            "own operations, more slowly"
        )
    return True, ""


def _private_folder(folder: Path | None) -> Path:
    """Return `folder` (None: the user's cache), or a temporary one where that can't be written or others can write."""
    try:
        folder = folder or Path.home() / ".cache" / "headwater" / "kernels"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_own = folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o022
        if is_own and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # the second: no home folder is known
        pass
    fresh = _fresh_folder()
    fresh.mkdir(exist_ok=True, mode=0o700)  # something may have tidied it away
    return fresh


@cache
def _fresh_folder() -> Path:
    """Return a new folder of this process alone, the same at every call: kernels are compiled once in it."""
    return Path(tempfile.mkdtemp(prefix="headwater-kernels-"))


def _whole_library(folder: Path, deciding: str) -> Path | None:
    """Return the compiled file that still is what the compiler wrote, or None; damaged ones are removed."""
    for library in sorted(folder.glob(f"{deciding}-*.so")):
        with suppress(OSError):  # another process may have removed it just now, or the disk can't read it
            if library.name == _library_name(deciding, library.read_bytes()):
                return library
        library.unlink(missing_ok=True)
    return None


def _library_name(deciding: str, compiled: bytes) -> str:
    return f"{deciding}-{blake2b(compiled, digest_size=12).hexdigest()}.so"


def _digest(compiler: str) -> str:
    """Digest of all that decides the machine code: sources, flags, compiler and processor."""
    state = blake2b(digest_size=12)
    for path in [*HEADERS, *SOURCES]:
        state.update(path.name.encode() + path.read_bytes())
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    except OSError as error:
        raise KernelError(f"{compiler} doesn't run: {error}") from error
    for part in (*_flags(), compiler, _processor()):
        state.update(part.encode())
    state.update(version)
    return state.hexdigest()


def _flags() -> tuple[str, ...]:
    return (*FLAGS, FULL_VECTORS) if platform.machine() in ("x86_64", "AMD64") else FLAGS


def _processor() -> str:
    """Return what decides the instructions of -march=native."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return torch.backends.cpu.get_cpu_capability()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _compile(compiler: str, folder: Path, deciding: str) -> Path:
    partial = folder / f"{deciding}.{os.getpid()}.partial"
    command = [compiler, *_flags(), *map(str, SOURCES), "-o", str(partial)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{compiler} doesn't run: {error}") from error
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise KernelError(f"{compiler} failed: {complaints[0] if complaints else done.returncode}")
    try:
        library = folder / _library_name(deciding, partial.read_bytes())
        os.replace(partial, library)
    except OSError as error:
        raise KernelError(f"{compiler} failed: it left no library ({error.strerror})") from error
    return library
