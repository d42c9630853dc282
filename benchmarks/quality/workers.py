"""Start runs, each in a process of its own, and keep their results."""

from __future__ import annotations

import importlib.metadata
import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import headwater
from headwater.errors import HeadwaterError
from headwater.files import read_json, write_json
from quality.job import Job

BENCHMARKS = Path(__file__).parents[1]
PACKAGE = Path(headwater.__file__).parent


class RunFailed(HeadwaterError):
    """A worker ended without a result; the message holds the end of what it said."""


class Workers:
    """Does jobs one after another; a result kept in `folder` is not measured again, nor is code compiled again."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def run(self, job: Job) -> dict[str, Any]:
        """Return the result of a job; raise RunFailed when its process dies."""
        path = self._folder / "results" / f"{job.digest.removeprefix('sha256:')[:24]}.json"
        in_words = f"{job.num_steps} steps, seed {job.seed} {' '.join(job.settings)}"
        if path.exists():
            self._say(f"kept: {in_words}")
            return read_json(path)
        self._say(in_words)
        with tempfile.TemporaryDirectory() as folder:
            job_path = Path(folder) / "job.json"
            write_json(job_path, job.as_json())
            done = subprocess.run(
                [sys.executable, "-m", "quality.headwater", str(job_path), str(path)],
                env=_environment(self._folder / "compiled"),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        if done.returncode or not path.exists():
            last_lines = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise RunFailed(f"{in_words}: the process ended with status {done.returncode}\n{last_lines}")
        return read_json(path)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment whose caches of compiled code lie in `folder`, and in which no network is asked."""
    caches = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME", "HOME")
    changed = {name: str(folder.resolve() / name.lower()) for name in caches}
    changed["PYTHONPATH"] = os.pathsep.join([str(BENCHMARKS), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    changed["PYTHONUSERBASE"] = site.getuserbase()  # it lies below the old HOME
    changed["HF_HUB_OFFLINE"] = "1"
    return os.environ | changed


def code_digest() -> str:
    """Return what a kept result must agree with: torch, headwater's source, and what trains and judges here."""
    digest = sha256(importlib.metadata.version("torch").encode())
    files = [BENCHMARKS / "quality" / name for name in ("headwater.py", "judge.py")]
    files += sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
