"""A run that takes a second or two: its texts, its settings, and ways to call headwater as its user does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

SYLLABLES = ["ri", "ver", "mil", "lo", "sta", "ne", "bri", "dge", "val", "ley", "mu", "tor", "en", "ga", "pol", "is"]

SMALL = {
    "tokenizer.vocab_size": 384,
    "model.num_layers": 2,
    "model.d_model": 32,
    "model.seq_len": 64,
    "train.num_steps": 24,
    "train.batch_tokens": 512,
    "train.save_every": 8,
    "train.validate_every": 6,
    "train.validation_sequences": 4,
    "train.num_probes": 3,
    "machine.compile": '"off"',
    "machine.dtype": '"float32"',
    "machine.num_threads": 1,
}
"Settings of a model of 30 thousand parameters that is trained for 24 steps of 512 tokens on one thread."


def overrides(**changed: Any) -> list[str]:
    """Return SMALL as arguments; `changed` has a double underscore for the dot: train__num_steps=12."""
    settings = SMALL | {name.replace("__", "."): value for name, value in changed.items()}
    return [f"{name}={value}" for name, value in settings.items()]


def prose(seed: object, num_sentences: int = 40) -> str:
    """Return sentences of invented words, no two alike, so that no rule of the corpus drops them."""
    chance = random.Random(str(seed))
    sentences = []
    for _ in range(num_sentences):
        words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(chance.randint(6, 12))]
        sentences.append(" ".join(words).capitalize() + ".")
    return "\n\n".join(" ".join(sentences[at : at + 5]) for at in range(0, num_sentences, 5)) + "\n"


def write_texts(folder: Path, num_files: int = 30) -> Path:
    """Fill a folder with plain texts, a few kilobytes each, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_files):
        (folder / f"{number:02d}.txt").write_text(prose(number), encoding="utf-8")
    return folder


def write_run_file(path: Path, texts: str = "texts", extra: str = "", **changed: Any) -> Path:
    """Write a run file of SMALL settings that trains on the folder `texts`, and return it."""
    tables: dict[str, list[str]] = {}
    for line in overrides(**changed):
        name, value = line.split("=", 1)
        table, _, setting = name.rpartition(".")
        tables.setdefault(table, []).append(f"{setting} = {value}")
    top = "\n".join(tables.pop("", []))
    body = "\n".join(f"[{table}]\n" + "\n".join(lines) + "\n" for table, lines in tables.items())
    path.write_text(f'{top}\n[corpus.sources.mine]\npaths = ["{texts}"]\n\n{body}\n{extra}\n', encoding="utf-8")
    return path


@dataclass(frozen=True)
class Said:
    """What one call of headwater said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output; fails when anything else is there."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headwater", *arguments]


def environment(**changed: str) -> dict[str, str]:
    """Return an environment with one thread, in which headwater is importable from any folder."""
    python = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"} | python | changed


def start(*arguments: str, cwd: Path, **changed: str) -> subprocess.Popen[str]:
    """Start headwater as a process of its own."""
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(**changed),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(*arguments: str, cwd: Path, **changed: str) -> Said:
    """Run headwater as a process of its own, to its end."""
    return finish(start(*arguments, cwd=cwd, **changed))


def finish(process: subprocess.Popen[str]) -> Said:
    out, err = process.communicate(timeout=600)
    return Said(process.returncode, out, err)


def call(*arguments: str, cwd: Path) -> Said:
    """Call headwater's main in this process: the same as `run`, without the seconds that a process needs to start."""
    from headwater.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    status = 0
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", ["headwater", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        quick(),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    texts = [stream.buffer.getvalue().decode() for stream in (out, err) if stream.flush() is None]
    return Said(status, texts[0], texts[1])


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Skip the second of matrix multiplications at a run's start, and put the handler of SIGTERM back."""
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with mock.patch("headwater.machine.compute.matmul_peaks", lambda device, dtypes: dict.fromkeys(dtypes, 1e11)):
            yield
    finally:
        signal.signal(signal.SIGTERM, at_sigterm)


# fields that say how long something took, and when: never the same twice
TIMES = {"attempt", "time", "seconds", "tokens_per_second", "mfu", "data_wait_fraction", "evaluation_seconds"}
TIMES |= {"exchange_fraction", "slowest_rank", "slowest_lead", "background_seconds", "bytes", "peak_memory_bytes"}


def without_clock(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records without what depends on the clock and the attempt."""
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def measured(run_dir: Path) -> list[str]:
    """Return what a run measured, losses to the last bit, in the order in which it counts."""
    from headwater.core.records import read_records

    kinds = ("step", "validation", "probes", "samples")
    kept = [record for record in read_records(run_dir / "records.jsonl") if record["event"] in kinds]
    return [json.dumps(record, sort_keys=True) for record in without_clock(kept)]


def final_weights(run_dir: Path) -> bytes:
    newest = max((run_dir / "checkpoints").glob("step-*"))
    return (newest / "model.safetensors").read_bytes()


def require_clear_error(said: Said, *parts: str, status: tuple[int, ...] = (1, 2)) -> None:
    """Check that headwater failed with a message for its user on standard error, and no traceback."""
    assert said.status in status, said
    assert "Traceback" not in said.err, said
    assert "headwater: " in said.err, said
    assert "headwater: " not in said.out, said
    for part in parts:
        assert part in said.err, f"{part!r} is not in:\n{said}"
