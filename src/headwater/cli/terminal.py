"""What a run says: a card before, one line an interval, live progress on a terminal only, a card after."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from headwater.evaluate.printable import printable
from headwater.report.numbers import count

CARD_WIDTH = 86


def safe(text: str) -> str:
    """Return text that can't drive a terminal: control and direction characters are shown as escapes."""
    return printable(text, keep="\n\t")


def say(message: str) -> None:
    """Print one line of progress on standard error, which keeps standard output for results."""
    print(safe(message), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def card(title: str, lines: Iterable[tuple[str, str]], out: TextIO | None = None) -> None:
    """Print a boxed list of (name, value), on standard error if nothing else is said; long values are wrapped."""
    out = out or sys.stderr
    rows = [(name, piece) for name, value in lines for name, piece in _wrapped(name, safe(value))]
    inner = CARD_WIDTH - 4
    print(f"╭─ {title} " + "─" * max(0, CARD_WIDTH - 5 - len(title)) + "╮", file=out)
    for name, value in rows:
        print(f"│ {f'{name:<14} {value}':<{inner}} │", file=out)
    print("╰" + "─" * (CARD_WIDTH - 2) + "╯", file=out, flush=True)


def _wrapped(name: str, value: str) -> list[tuple[str, str]]:
    width = CARD_WIDTH - 4 - 15
    pieces: list[str] = [""]
    for word in value.split(" "):
        if pieces[-1] and len(pieces[-1]) + 1 + len(word) > width:
            pieces.append(word)
        else:
            pieces[-1] = f"{pieces[-1]} {word}".strip()
    return [(name if index == 0 else "", piece) for index, piece in enumerate(pieces)]


class TrainingDisplay:
    """Turn records into lines: one every `log_every` steps, and one for each look, stop and resume."""

    def __init__(self, num_steps: int, log_every: int, out: TextIO | None = None) -> None:
        self._num_steps, self._log_every, self._out = num_steps, log_every, out or sys.stderr
        self._is_terminal = self._out.isatty()
        self._validation = ""
        self._started: tuple[float, int] | None = None
        self._loss: float | None = None
        self._shown: dict[str, Callable[[dict[str, Any]], None]] = {
            "step": self._show_step,
            "validation": self._show_validation,
            "abilities": self._show_abilities,
            "samples": self._show_samples,
            "stopped": self._show_stopped,
            "resume": self._show_resume,
        }

    def __call__(self, record: dict[str, Any]) -> None:
        show = self._shown.get(record["event"])
        if show is not None:
            show(record)

    def _show_step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        if self._started is None:
            self._started = (time.monotonic(), step)
        loss = record["loss"]
        if math.isfinite(loss):
            self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
        if not record["taken"]:
            self._line(f"step {step}: loss {loss} or gradient {record['grad_norm']} is not finite; step not taken")
        line = self._status(record)
        if step % self._log_every == 0 or step == self._num_steps:
            self._line(line)
        elif self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)

    def _status(self, record: dict[str, Any]) -> str:
        step = record["step"]
        parts = [
            f"step {step:>{len(str(self._num_steps))}}/{self._num_steps} {100 * step / self._num_steps:.1f}%",
            f"tok {count(record['tokens_seen'])}",
            f"loss {record['loss']:.3f} (ema {math.nan if self._loss is None else self._loss:.3f})",
            *([self._validation] if self._validation else []),
            f"gnorm {record['grad_norm']:.2f}",
            f"lr {record['lr']:.1e}",
            f"{count(record['tokens_per_second'])} tok/s",
            f"mfu {record['mfu']:.0%}",
            f"data {record['data_wait_fraction']:.1%}",
            f"eta {self._remaining(step)}",
        ]
        return " | ".join(parts)

    def _remaining(self, step: int) -> str:
        started_at, first = self._started or (0.0, step)
        if step <= first:
            return "?"
        return duration((time.monotonic() - started_at) / (step - first) * (self._num_steps - step))

    def _show_validation(self, record: dict[str, Any]) -> None:
        self._validation = f"val {record['bits_per_byte']['all']:.3f} bpb"

    def _show_abilities(self, record: dict[str, Any]) -> None:
        scores = " · ".join(f"{name} {values['right']:.0%}" for name, values in record["abilities"].items())
        self._line(f"     abilities at step {record['step']}: {scores}")

    def _show_samples(self, record: dict[str, Any]) -> None:
        for sample in record["samples"][:1]:
            following = record["next"][0]["next"][0]
            chance = f"  (next: {following['token']!r} {following['probability']:.0%})"
            self._line(f"     {sample['prompt']}{sample['text'][:60]}{chance}")

    def _show_stopped(self, record: dict[str, Any]) -> None:
        signal, step = record["signal"], record["step"]
        self._line(f"stopped by {signal} after saving step {step}; the same command goes on from there")

    def _show_resume(self, record: dict[str, Any]) -> None:
        self._line(f"resuming from step {record['step']}")

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        print(start + safe(text), file=self._out, flush=True)
