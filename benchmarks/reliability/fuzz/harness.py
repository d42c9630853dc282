"""Fuzz one parser in this process: `python -m fuzz.harness NAME FOLDER EXECUTIONS -timeout=30 …` (libFuzzer's options).

FOLDER keeps what was found: inputs that reach new code, and an input that crashed. Only headwater is instrumented, and
the parsers of Python that it calls.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from fuzz.target import Target

WATCHED = ["headwater", "json", "tomllib", "csv", "codecs"]
MEMORY_BYTES = 3 << 30


class Counted:
    """Tries one input after another, and ends the process after `wanted` of them.

    It ends by os._exit: an interpreter that ends while libraries' threads are alive sometimes ends with another
    status, and libFuzzer would count the seeds as well.
    """

    def __init__(self, target: Target, scratch: Path, wanted: int) -> None:
        self._try_one, self._scratch, self._left, self._wanted = target.try_one, scratch, wanted, wanted

    def __call__(self, data: bytes) -> None:
        self._try_one(data, self._scratch)
        self._left -= 1
        if not self._left:
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"Done {self._wanted} runs in {peak_mib} MiB", file=sys.stderr, flush=True)
            shutil.rmtree(self._scratch)
            os._exit(0)


def main() -> None:
    name, folder, wanted = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with atheris.instrument_imports(include=WATCHED):
        from fuzz.targets import TARGETS

        target = next(target for target in TARGETS if target.name == name)
        seeds = target.seeds()
        for seed in seeds:  # what is imported when it is first needed is watched, too
            with tempfile.TemporaryDirectory(dir=_in_memory()) as scratch:
                target.try_one(seed, Path(scratch))
    corpus = folder / "inputs"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory(dir=_in_memory()) as scratch:
        arguments = [
            str(corpus),
            f"-dict={words}",
            f"-artifact_prefix={folder}/crash-",
            f"-max_len={target.max_bytes}",
        ]
        atheris.Setup([sys.argv[0], *arguments, *sys.argv[4:]], Counted(target, Path(scratch), wanted))
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _in_memory() -> str | None:
    """Return a folder that no disk is behind, where there is one: the fuzzers write thousands of files a second."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - temporary names are made in it


if __name__ == "__main__":
    main()
