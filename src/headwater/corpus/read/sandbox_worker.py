"""The process in which foreign bytes are parsed: `python -m headwater.corpus.read.sandbox_worker`.

It answers requests on its standard input until that ends: for each file the pieces found in it, then the end with a
reason. It writes to nothing but its standard output, and takes no more memory and time than it is told. Whatever a
record does to it costs that record; `sandbox` starts another one behind it.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile, parse, reader_of
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.processes import OUT_OF_MEMORY, limit_, limit_memory_, pack, receive
from headwater.corpus.source_paths import path_of_text
from headwater.corpus.sources.formats import Format, compression_of

MAX_OPEN_FILES = 64


def main() -> None:
    """Answer requests until there are no more, which is an EOFError."""
    settings = receive()
    _confine_(settings["memory_bytes"])
    clock = _CpuClock(settings["cpu_seconds"])
    _write({"ready": True})
    while True:
        request = receive()
        clock.restart_()
        try:
            for answer in _answers(request, settings, clock):
                _write(answer)
                clock.refresh_()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class _Timed(InputFile):
    """A file that is read against a clock.

    Of a format of records the place in the open file `started` says how many were, which the process that asks sees
    when this one is no more. The first `num_done` are passed over; of the last of them the reason `lost` is told.
    """

    clock: _CpuClock
    started: int | None
    num_done: int
    lost: str
    at: list[int] = field(default_factory=lambda: [-1])  # the number of the record that is parsed

    def still_reading(self) -> None:
        if self.clock.refresh_():
            _write({"still_reading": True})

    def begin_record(self, part: str, num_bytes: int = 0, excerpt: str = "") -> bool:
        if self.started is None:
            return True
        self.clock.refresh_()
        self.at[0] += 1
        os.lseek(self.started, self.at[0] + 1, os.SEEK_SET)
        if self.lost and self.at[0] == self.num_done - 1:
            _write({"lost": True, **_answer(Drop(self.lost, "", part, "", num_bytes, excerpt), self.at[0])})
        return self.at[0] >= self.num_done


def _answers(request: dict[str, Any], settings: dict[str, Any], clock: _CpuClock) -> Iterator[dict[str, Any]]:
    memory_bytes = settings["memory_bytes"]
    try:
        limits = ReadLimits.of_message(request["limits"])
        form = limits.format(request["format"])
        _load_(form, request["path"], memory_bytes)
        clock.restart_()
        start, end, before = request["within"] or (0, 0, 0)
        place = path_of_text(request["path"]), "", request["source"], request["kind"]
        done = settings["started"] if form.records else None, request["num_done"], request["lost"]
        file = _Timed(*place, clock, *done, within=(start, end, before) if end else None)
        for piece in parse(file, request["format"], limits):
            if isinstance(piece, Drop):
                _require_memory(piece.reason, memory_bytes)
            yield _answer(piece, file.at[0])
    except MemoryError:
        raise
    except Unusable as error:
        _require_memory(error.reason, memory_bytes)
        yield {"end": error.reason, "because": error.because, "excerpt": error.excerpt}
    except OSError:
        yield {"end": "unreadable"}
    except Exception as error:  # a library's, about bytes it wasn't ready for
        yield {"end": "parser_failed", "because": f"{type(error).__name__}: {error}"[:200]}
    else:
        yield {"end": ""}


def _answer(piece: Document | Drop, record: int) -> dict[str, Any]:
    if isinstance(piece, Document):
        return {"text": piece.text, "record": record, "part": piece.id, "kind": piece.kind, "meta": piece.meta}
    return {
        "drop": piece.reason,
        "record": record,
        "part": piece.id,
        "bytes": piece.num_bytes,
        "documents": piece.num_documents,
        "excerpt": piece.excerpt,
        "because": piece.because,
    }


def _confine_(memory_bytes: int) -> None:
    limit_(resource.RLIMIT_CORE, 0)
    limit_(resource.RLIMIT_FSIZE, 0)
    limit_(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    limit_memory_(memory_bytes)


def _load_(form: Format, path: str, memory_bytes: int) -> None:
    """Import what a file needs, and only then count the memory that files may take."""
    limit, num_modules = resource.getrlimit(resource.RLIMIT_AS), len(sys.modules)
    limit_(resource.RLIMIT_AS, resource.RLIM_INFINITY)
    reader_of(form)
    if form.needs:
        importlib.import_module(form.needs)
    if compression_of(path_of_text(path).name) == "zstd":  # the others need nothing that isn't here
        importlib.import_module("pyarrow")
    if len(sys.modules) > num_modules:
        limit_memory_(memory_bytes)
    else:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def _require_memory(reason: str, memory_bytes: int) -> None:
    """Raise MemoryError where a parser says that something is damaged and means that memory was short."""
    if reason.startswith("damaged") and _was_short_of_memory(memory_bytes):
        raise MemoryError


def _was_short_of_memory(memory_bytes: int) -> bool:
    """Return whether more than half of what a file may take was taken: then what failed may have asked for the rest."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peak_bytes = 1024 * int(status.split("VmPeak:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return False
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return limit != resource.RLIM_INFINITY and peak_bytes > limit - memory_bytes / 2


class _CpuClock:
    """Gives every piece of a file the same CPU seconds; the kernel ends this process when they are used up."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._set_at = 0.0

    def restart_(self) -> None:
        self._set_at = time.process_time()
        limit_(resource.RLIMIT_CPU, int(self._set_at) + 1 + self._seconds)

    def refresh_(self) -> bool:
        """Give the next piece its seconds; return whether a second of them was used."""
        is_used = time.process_time() - self._set_at > 1
        if is_used:
            self.restart_()
        return is_used


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(pack(answer))
    # immediately: what was found in a file before it ends this process is kept
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError):  # the other end is no more
        main()
