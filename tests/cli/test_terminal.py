"""What is shown can't drive the terminal it is shown on, and is readable where there is none."""

from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import call, command, environment

from headwater.cli.progress import TrainingDisplay
from headwater.cli.terminal import safe
from headwater.core.printable import printable
from headwater.train.settings import TrainSettings

SIZES = {"num_steps": 20, "batch_tokens": 512, "microbatch_tokens": 512}
TRAIN = TrainSettings(**SIZES, log_every=10, save_every=20, validate_every=20, num_probes=0)
STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step_record(step: int, **changed: object) -> dict:
    record = {"event": "step", "step": step, "tokens_seen": 512 * step, "loss": 5.0, "lr": 0.01, "grad_norm": 1.5}
    record |= {"tokens_per_second": 12345.6, "mfu": 0.41, "seconds": 0.04, "data_wait_fraction": 0.001}
    return record | changed


@given(st.text())
def test_safe_text_holds_nothing_that_steers_a_terminal(text):
    shown = safe(text)
    bad = [c for c in shown if unicodedata.category(c) in STEERING and c not in "\n\t\u200c\u200d\u00ad"]
    assert not bad


WORDS = "naïve 中文 می\u200cخواهم 👩\u200d🔬 \u00a0 \\n"


@pytest.mark.parametrize(
    ("keep", "text", "shown"),
    [
        ("", "\x1b[2J\x9b31m\x07\r\n", "\\x1b[2J\\x9b31m\\x07\\r\\n"),
        ("", "a\u202eb\u2028\u200e\ud800", "a\\u202eb\\u2028\\u200e\\ud800"),
        ("\n\t", "one\n\ttwo\x1b", "one\n\ttwo\\x1b"),
        ("", WORDS, WORDS),
    ],
)
def test_what_steers_a_terminal_is_shown_as_escapes_and_words_stay(keep, text, shown):
    assert printable(text, keep) == shown


def test_generated_text_is_shown_as_it_comes_and_its_end_is_named(finished, monkeypatch):
    from headwater.evaluate import generate
    from headwater.evaluate.generate import GeneratedText

    seen = []

    def pieces(*_: object) -> Iterator[GeneratedText]:
        for number, piece in enumerate(("ri", "ver\n\x1b[2J"), 1):
            yield GeneratedText(piece, number)
            seen.append(sys.stdout.buffer.getvalue().decode())  # what has left the program's own buffer
        yield GeneratedText("", 2, "end token")

    monkeypatch.setattr(generate, "stream", pieces)
    said = call("generate", "The ", "--run", "runs/mine", cwd=finished.cwd)
    assert seen == ["The ri", "The river\n\\x1b[2J"]
    assert said.out == "The river\n\\x1b[2J\n"
    assert said.err == "2 tokens; the model ended the text; step 24\n"


def status_of(out: io.StringIO, record: dict, **start: object) -> str:
    train = TRAIN.model_copy(update={"num_steps": record["step"]})
    display = TrainingDisplay(train, 1, out)
    display({"event": "start", "step": 0, **start})
    display({"event": "validation", "step": 0, "bits_per_byte": {"all": 1.2345}})
    display(record)
    return out.getvalue().splitlines()[-1].removeprefix("\x1b[K")  # what a return begins is a line


LONGEST = {"loss": 10.1, "grad_norm": 100.0, "tokens_per_second": 123456.0, "data_wait_fraction": 0.5}
RANKS = {"exchange_fraction": 0.31, "slowest_rank": 3, "slowest_lead": 0.24}
LINES = [  # what is measured of a step, and what its line says of that
    ({}, "12.3k tokens/s  int8  41% of peak"),
    (LONGEST, "loss 10.100"),
    (LONGEST, "data wait 50%"),
    ({"gradient_error": 0.06}, "12.3k tokens/s  gradient checked  int8"),
    (RANKS, "exchange 31%  rank 3 slow"),
]


@pytest.mark.parametrize(("more", "words"), LINES)
def test_a_line_of_training_says_what_its_step_did_in_100_characters(more, words):
    """Its number format; that it was computed twice; how long several ranks exchange, and whom they wait for."""
    line = status_of(io.StringIO(), step_record(1_000_000, **more), device={"dtype": "int8"})
    assert words in line and len(line) <= 100
    assert not more or words not in status_of(io.StringIO(), step_record(1_000_000), device={"dtype": "int8"})


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_a_line_of_training_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    line = status_of(Terminal(), step_record(100_000), device={"dtype": "bfloat16"})
    assert len(line) < max(61, min(columns, 101))
    assert "loss 5.000" in line and "12.3k tokens/s" in line and line.endswith("left")


def test_a_terminal_shows_every_step_on_one_line():
    out = Terminal()
    display = TrainingDisplay(TRAIN, out=out)
    for step in range(2, 10):
        display(step_record(step))
    assert "\n" not in out.getvalue()
    assert out.getvalue().count("\r\x1b[K") == 8


DOCUMENTS = {"count": 2, "listed": [["books", "a tale\x1b[2J"], ["code", "x.py"]]}
NAMED = "2 documents (books: a tale\\x1b[2J, code: x.py)"
SKIPPED = {"event": "skipped", "step": 7, "first_row": 56, "last_row": 63, "reason": "loss 9 is above 5"}
SKIPPED |= {"documents": DOCUMENTS}
ROLLBACK = {"event": "rollback", "step": 4, "from_step": 7, "first_row": 32, "last_row": 87, "suspect_row": 48}
ROLLBACK |= {"documents": DOCUMENTS, "reason": "3 bad steps"}
SAVED = {"event": "checkpoint", "step": 8, "bytes": 1, "seconds": 0.1}
STOPPED = {"event": "stopped", "step": 9, "signal": "SIGTERM"}
NEXT = [{"prompt": "def f():", "next": [{"token": "\n", "probability": 0.5}]}]
SAMPLES = [{"prompt": "def f():", "text": "\n    return\x1b\x9b\n"}]
SAMPLE = {"event": "samples", "step": 1, "samples": SAMPLES, "next": NEXT}
RIGHT = {"right": 0.5, "chance": 0.26, "num_items": 40, "mean_probability": 0.3}
PROBES = {"event": "probes", "step": 5, "probes": {"words": RIGHT, "sums": {"right": 0.1}}}
SHORT = {"training": {"hours": {"p10": 0.09, "p50": 0.1, "p90": 0.11}}}
HELD_OUT = {"event": "validation", "step": 10, "bits_per_byte": {"all": 1.2345}}
SAID = {
    "what was skipped": ([SKIPPED], [f"after step 7: sequences 56 to 63 skipped: loss 9 is above 5; {NAMED}"]),
    "what was excluded": ([ROLLBACK], [
        f"back from step 7 to step 4, sequences 32 to 87 excluded: 3 bad steps; from sequence 48 on {NAMED}"]),
    "a save alone that a signal requested": ([SAVED, SAVED | {"signal": "SIGUSR1"}],
                                             ["saved step 8, as SIGUSR1 requested; training continues"]),
    "a stop without a save, and why": ([STOPPED | {"saved": False, "save_seconds": 40.5}], [
        "stopped by SIGTERM at step 9 without a save, which may take 40.5 s: more than --stop-within allows; "
        "run the same command to resume"]),
    "a sample keeps its lines": ([SAMPLE], [
        "     step 1: next token '\\n' 50%; sample:", "       def f():", "           return\\x1b\\x9b"]),
    "a probe and what chance gets": ([PROBES], ["     probes at step 5: words 50% (35% to 65%; chance 26%) · sums 10%"]),
    "a held-out figure, once and with its own step": ([HELD_OUT], [
        "     bits/byte of a sample of held-out text at step 10: 1.234"]),
    "no card and no forecast again": (
        [{"event": "resume", "step": 8}, {"event": "start", "device": {"dtype": "int8"}, "forecast": SHORT, "step": 8},
         {"event": "finish", "step": 20, "seconds": 336.0, "energy_wh": 1.0}],
        ["resuming from step 8", "     training time 5m36s, forecast 6m00s (5m24s to 6m36s): inside"]),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_what_else_happens_is_said_in_lines_that_cannot_drive_the_terminal(what):
    records, lines = SAID[what]
    out, cards = io.StringIO(), []
    display = TrainingDisplay(TRAIN, 1, out, opening=cards.append)
    for record in records:
        display(record)
    assert out.getvalue().splitlines() == lines and not cards


def test_a_terminal_without_unicode_gets_escapes_not_a_traceback(finished):
    verbs = [["next", "naïve"], ["generate", "naïve 中"], ["corpus", "show"], ["evaluate"]]
    program = (
        "import sys; from headwater.cli.main import main\n"
        f"for verb in {verbs!r}:\n"
        "    sys.argv = ['headwater', *verb, '--run', 'runs/mine']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, (verb, end)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        **{"cwd": finished.cwd, "env": environment() | {"PYTHONIOENCODING": "ascii"}, "capture_output": True},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and done.stdout


def test_a_reader_that_leaves_early_causes_no_traceback(finished):
    reader = f"{' '.join(command('corpus', 'show', '--run', 'runs/mine'))} | true"
    done = subprocess.run(
        ["bash", "-c", reader], cwd=finished.cwd, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
