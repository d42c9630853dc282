"""Parses files in a process of its own, so that bytes that crash, hang or bloat a parser cost their record only.

One process serves many files. It inherits nothing of this one's environment, writes no file, and is ended when a
document takes too much memory or time; a new one then goes on behind that.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from headwater.core.errors import DataError
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.processes import OUT_OF_MEMORY, BadFrame, Child
from headwater.corpus.source_paths import path_as_text

_MODULE = "headwater.corpus.read.sandbox_worker"


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one document may take."""

    memory_bytes: int = 640 << 20  # beside what the parser's code takes; with this process it stays under 1 GiB
    cpu_seconds: int = 60  # of the processor, so that a busy machine drops no other documents than an idle one
    wall_seconds: int = 900  # for what waits without working


class Sandbox:
    """The parser process; it is started when the first file needs it and ended by `close`."""

    def __init__(self, limits: SandboxLimits | None = None) -> None:
        self._limits = limits or SandboxLimits()
        self._worker: _Worker | None = None

    def read(self, file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
        """Yield what `parse` would, in the same order. Raises Unusable as it does.

        A record whose parser died, took too long or took too much memory is a drop, and a new process goes on behind
        it; a file without records, or with more than MAX_LOST_RECORDS such, is Unusable. A process that had parsed
        others before isn't held against a record: it gets another try in a new one.
        """
        request = {
            "path": path_as_text(file.path),
            "format": file_format,
            "source": file.source,
            "kind": file.kind,
            "within": file.within,
            "limits": asdict(limits),
        }
        num_done, num_lost, reason = 0, 0, ""  # records, and why the last of those that are done is lost
        last = -1, 0  # of the last piece handed on: the number of its record, and which of that one's pieces it is
        while True:
            worker = self._worker = self._worker or _Worker(self._limits)
            is_ready, here = False, (-1, 0)
            try:
                for answer in worker.ask({**request, "num_done": num_done, "lost": reason}):
                    record, piece = _piece(file, answer)
                    here = record, here[1] + 1 if record == here[0] else 1
                    if "lost" in answer and last[0] == record and isinstance(piece, Drop):
                        yield replace(piece, id=f"{piece.id}#rest", num_bytes=0)
                    elif here > last:
                        last = here
                        yield piece
                is_ready = True
                return
            except Unusable:  # said by the worker
                is_ready = True
                raise
            except _Ended as end:
                number = worker.num_started() - 1  # of the record that it was parsing
                if end.reason != TOO_SLOW and (worker.has_served or number > num_done):
                    num_done, reason = max(num_done, number), ""
                    continue
                num_lost += 1
                if number < num_done or num_lost > MAX_LOST_RECORDS:
                    raise Unusable(end.reason) from None
                num_done, reason = number + 1, end.reason
            finally:
                if not is_ready:
                    self.close()

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


TOO_SLOW, TOO_LARGE, DIED = "parser_took_too_long", "parser_took_too_much_memory", "parser_died"
_START_SECONDS = 60
MAX_LOST_RECORDS = 100  # of a file: each may take all the time that a document may


class _Ended(Exception):
    """The worker is no more, or is of no more use."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Worker(Child):
    """One process, and the time that it has for an answer."""

    def __init__(self, limits: SandboxLimits) -> None:
        self.has_served = False
        self._wall_seconds = max(limits.wall_seconds, _START_SECONDS)
        self._started = tempfile.TemporaryFile()  # noqa: SIM115 - the place in it says how many; closed by close()
        try:
            super().__init__(_MODULE, _environment(), "/", [self._started.fileno()])
        except OSError as error:
            self._started.close()
            raise _not_started(error.strerror or str(error)) from None
        self._poll = select.poll()
        self._poll.register(self.handle, select.POLLIN)
        try:
            self._receive_after({**asdict(limits), "started": self._started.fileno()})
            self._wall_seconds = limits.wall_seconds
        except _Ended:
            last_error = self.last_error()
            self.close()
            raise _not_started(last_error or "it ends without a word") from None

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the answers to a request but for the last, which says how it ended. Raises Unusable, _Ended."""
        self._started.seek(0)
        answer = self._receive_after(request)
        while "end" not in answer:
            if "still_reading" not in answer:
                yield answer
            answer = self._receive_after()
        self.has_served = True
        if answer["end"]:
            raise Unusable(str(answer["end"]), str(answer.get("because", "")), str(answer.get("excerpt", "")))

    def num_started(self) -> int:
        """Return how many records of the file were started, those skipped among them."""
        return os.lseek(self._started.fileno(), 0, os.SEEK_CUR)

    def _receive_after(self, message: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the next answer, after a message to the process if there is one. Raises _Ended."""
        try:
            if message is not None:
                self.send(message)
            while (answer := self.next_message()) is None:
                if not self._poll.poll(1000 * self._wall_seconds):
                    raise _Ended(TOO_SLOW)
                if not self.read():
                    raise _Ended(self._why())
            return answer
        except BrokenPipeError:
            raise _Ended(self._why()) from None
        except BadFrame:
            raise _Ended(DIED) from None

    def _why(self) -> str:
        """Return why the process, whose pipe is closed, is no more."""
        return {-signal.SIGXCPU: TOO_SLOW, OUT_OF_MEMORY: TOO_LARGE}.get(self.exit_status() or 0, DIED)

    def close(self) -> None:
        super().close()
        self._started.close()


def _not_started(why: str) -> DataError:
    return DataError(
        f"the process that parses files can't be started ({sys.executable} -m {_MODULE}): {why}; install headwater for "
        "that Python, or start headwater with the one it is installed for"
    )


def _environment() -> dict[str, str]:
    """Return all that the worker knows of this process's surroundings: where modules are; no key, token or name."""
    return {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte immediately
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
    }


def _piece(file: InputFile, answer: dict[str, Any]) -> tuple[int, Document | Drop]:
    """Return a worker's answer as what this process hands on, and the number of its record.

    Raises _Ended for one that no worker of ours gives.
    """
    try:
        part, number = str(answer["part"]), int(answer["record"])
        place = file.source, f"{file.origin}{part}", file.origin
        if "drop" not in answer:
            meta = {str(name): str(value) for name, value in answer["meta"].items()}
            if "group" in meta:  # a worker doesn't know how the file is named
                meta["group"] = f"{file.origin}{meta['group']}"
            return number, Document(str(answer["text"]), *place, str(answer["kind"]), meta)
        counts = int(answer["bytes"]), str(answer["excerpt"]), int(answer["documents"])
        return number, Drop(str(answer["drop"]), *place, *counts, because=str(answer["because"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _Ended(DIED) from None
