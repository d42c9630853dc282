"""Each rank says twice a second where it is; one that is killed, stopped or cut off is named, and the others end.

An exchange notices a process that has ended. One that is stopped, or behind a dead network, it awaits for half an
hour. Beats go through the launcher's store, on a connection of their own. Each rank writes its own beat and reads that
of the first rank, which reads all and says in its own who is lost: two calls a beat and rank, however many there are.

Silence alone is a weak sign: code that keeps the interpreter's lock is silent, too. So it counts after long (the
setting), or soon if an exchange has failed. It is counted in beats of the one that listens, not by the clock: a machine
that slept has lost nobody.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch.distributed as dist

from headwater.machine.ranks.mesh import Place, named
from headwater.machine.ranks.watchdog import RESUMES, STDERR, RankProgress, place_in_run

BEAT_SECONDS = 0.5
SOON_SECONDS = 4.0  # of silence, until a process without which an exchange failed is lost
NOTICE_SECONDS = 1.0  # in which an exchange with a process that has ended fails by itself
END_SECONDS = 10.0  # for a rank that has lost others to end in order; a launcher waits 30
WINDOW_BEATS = 60  # over which ranks' times in exchanges are compared
MIN_LEAD = 0.1  # of the time: beats of one moment are up to BEAT_SECONDS apart


@dataclass(frozen=True)
class Beat:
    """What a rank says of itself and of others.

    `trouble` is why the rank ends, "" when it ends as it should. `has_failed`: an exchange of its own has. `lost` are
    the ranks that it has found lost, or was told of, and `why` says what became of them.
    """

    number: int
    step: int
    phase: str
    exchange_seconds: float
    host: str
    pid: int
    trouble: str | None = None
    has_failed: bool = False
    lost: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Slowest:
    """The rank that the others wait for, and the fraction of the time that they wait in exchanges longer than it."""

    rank: int
    lead: float


class StoreWatch:
    """Ends the process when the launcher's store is silent as long as a rank may be: its calls then never return."""

    def __init__(self, place: Place, progress: RankProgress, silence_seconds: float) -> None:
        self._place, self._progress = place, progress
        self._max_unanswered = _num_beats(silence_seconds)
        self._unanswered = 0  # beats since the store's last answer
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="heartbeat's store", daemon=True).start()

    def answered(self) -> None:
        self._unanswered = 0

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            self._unanswered += 1
            if self._unanswered > self._max_unanswered:
                seconds = self._max_unanswered * BEAT_SECONDS
                why = f"is cut off: the launcher's store hasn't answered for {seconds:g} s"
                _end_process(self._place, why, self._progress)


class Heartbeat:
    """The beats of one of several ranks."""

    def __init__(self, store: dist.Store, place: Place, progress: RankProgress, silence_seconds: float) -> None:
        """Write the first beat; call it before the ranks meet, so that each finds those of all others."""
        self._store = store.clone()  # type: ignore[attr-defined]  # a connection of its own: another thread may wait on the given one
        self.progress, self._place = progress, place
        self._max_silent = _num_beats(silence_seconds)
        self._soon = min(_num_beats(SOON_SECONDS), self._max_silent)
        self._others = [0] if place.rank else range(1, place.world_size)
        self._own = Beat(0, 0, progress.phase, 0.0, socket.gethostname(), os.getpid())
        self._heard: dict[int, Beat] = {}
        self._silent: dict[int, int] = {}  # beats since each rank's last one
        self._exchanged: deque[tuple[float, dict[int, float]]] = deque(maxlen=WINDOW_BEATS)
        self._why = ""
        self._found, self._noticed, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._watch = StoreWatch(place, progress, silence_seconds)
        self._write()

    def start(self) -> None:
        """Beat and listen from now on; all ranks have written their first beat."""
        self._thread.start()
        self._watch.start()

    @property
    def has_found(self) -> bool:
        """Return whether a rank is known to be lost."""
        return self._found.is_set()

    def why(self) -> str:
        """Return who is lost, after an exchange has failed; "" where nobody is found to be."""
        self._noticed.set()
        self._found.wait((self._soon + 4) * BEAT_SECONDS)
        return self._why

    def end_of_joining(self, error: Exception) -> str:
        """End where the ranks can't be joined; return who is lost, else the error, of which the others are told."""
        if not self._thread.is_alive():
            return str(error)
        why = self.why()
        self.progress.trouble = "" if why else f"ended ({error})"
        self.close()
        return why or str(error)

    def slowest(self) -> Slowest | None:
        """Return the rank that all others wait for, as the first rank knows it; None where none stands out."""
        if len(self._exchanged) < 2:
            return None
        (began_at, before), (ended_at, after) = self._exchanged[0], self._exchanged[-1]
        waited = {rank: (after[rank] - before[rank]) / (ended_at - began_at) for rank in after}
        rank = min(waited, key=lambda rank: waited[rank])
        lead = statistics.median(other for each, other in waited.items() if each != rank) - waited[rank]
        return Slowest(rank, lead) if lead >= MIN_LEAD else None

    def close(self) -> None:
        """End; the last beat says what `progress` has of trouble. Where the store doesn't answer, the process ends."""
        self._closed.set()
        self._thread.join(END_SECONDS)

    # ---- the thread that beats

    def _beat(self) -> None:
        try:
            while not self._closed.wait(BEAT_SECONDS):
                self._write()
                lost, why = self._listen()
                self._watch.answered()
                if lost:
                    self._own = replace(self._own, lost=lost, why=why)
                    self._write()
                    self._give_up(why)
                    self._await_the_end_of_others(lost)
            self._write()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            self._give_up(f"the launcher's store, which the first machine holds, is gone ({reason})")
        finally:
            self._watch.stop()

    def _write(self) -> None:
        now = self.progress
        self._own = replace(
            self._own,
            number=self._own.number + 1,
            step=now.step,
            phase=now.doing,
            exchange_seconds=now.exchange_seconds(),
            trouble=now.trouble,
            has_failed=self._noticed.is_set(),
        )
        self._store.set(_key(self._place.rank), json.dumps(asdict(self._own)))

    def _listen(self) -> tuple[tuple[int, ...], str]:
        """Return the ranks that are lost, and what became of them."""
        beats = self._read(self._others)
        for rank, beat in beats.items():
            heard = self._heard.get(rank)
            is_new = heard is None or heard.number != beat.number
            self._silent[rank] = 0 if is_new else self._silent[rank] + 1
        self._heard = beats
        if self._place.rank == 0:
            self._exchanged.append((time.monotonic(), self._exchange_seconds()))
        if finder := next((beat for beat in beats.values() if beat.lost), None):
            return tuple(finder.lost), finder.why
        # ranks of a machine that is gone are some beats apart: with the first of them, all are lost
        has_failed = self._noticed.is_set() or any(beat.has_failed for beat in beats.values())
        limit = self._soon if has_failed else self._max_silent
        has_silent = any(self._silent[rank] >= limit for rank, beat in beats.items() if beat.trouble is None)
        silent = [rank for rank in beats if has_silent and self._silent[rank] >= max(1, limit // 2)]
        troubles = dict.fromkeys(silent, f"fell silent {limit * BEAT_SECONDS:g} s ago")
        troubles |= {rank: beat.trouble for rank, beat in beats.items() if beat.trouble is not None}
        troubles = {rank: trouble for rank, trouble in troubles.items() if trouble}
        return tuple(troubles), "; ".join(self._describe(found, troubles) for found in dict.fromkeys(troubles.values()))

    def _exchange_seconds(self) -> dict[int, float]:
        return {0: self._own.exchange_seconds} | {rank: beat.exchange_seconds for rank, beat in self._heard.items()}

    def _describe(self, trouble: str, troubles: dict[int, str]) -> str:
        ranks = [rank for rank, found in troubles.items() if found == trouble]
        beat = self._heard[ranks[0]]
        where = place_in_run(beat.step, beat.phase)
        return f"{named(ranks, self._place.world_size)} {trouble}, {where}, process {beat.pid} on {beat.host}"

    def _read(self, ranks: Sequence[int]) -> dict[int, Beat]:
        texts = self._store.multi_get([_key(rank) for rank in ranks])
        return {rank: Beat(**json.loads(text)) for rank, text in zip(ranks, texts, strict=True)}

    def _await_the_end_of_others(self, lost: Sequence[int]) -> None:
        """Stay, as the first rank, until the others know: without a launcher their store ends with this process."""
        others = [] if self._place.rank else [rank for rank in range(1, self._place.world_size) if rank not in lost]
        for _ in range(_num_beats(END_SECONDS)):
            if all(beat.trouble is not None for beat in self._read(others).values()):
                return
            time.sleep(BEAT_SECONDS)

    def _give_up(self, why: str) -> None:
        """Let the thread that trains end in order where its exchange fails; end the process where it doesn't."""
        self._why = why
        self._found.set()
        self._watch.stop()
        if not self._noticed.wait(NOTICE_SECONDS) or not self._closed.wait(END_SECONDS):
            _end_process(self._place, f"lost others: {why}", self.progress)


def _end_process(place: Place, why: str, where: RankProgress) -> None:
    line = f"headwater: {named([place.rank], place.world_size)} {why}; this rank was {where}. {RESUMES}\n"
    os.write(STDERR, line.encode())
    os._exit(1)  # an exchange can't be interrupted; all that counts is on disk, or promised nothing


def _num_beats(seconds: float) -> int:
    return max(1, round(seconds / BEAT_SECONDS))


def _key(rank: int) -> str:
    return f"beat/{rank}"
