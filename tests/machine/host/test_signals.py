"""Signals ask to stop; they interrupt nothing, except a second SIGINT."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from small_run import environment

from headwater.machine.host.signals import StopRequest, Termination

PROGRAM = """
import hashlib, os, signal, threading, time
from headwater.machine.host.signals import Termination
with Termination(75, "ended by force", grace_seconds=0.2):
    {act}
print("left")
"""
TERM_SOON = "threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()"
# a library's call of many minutes that never comes back to Python
COMPUTE = f"{TERM_SOON}; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
GO_ON = f"""{TERM_SOON}
    try: time.sleep(60)
    except KeyboardInterrupt: time.sleep(60)"""


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("numbers", "name", "is_save"),
    [
        ([], None, False),
        ([signal.SIGINT], "SIGINT", False),
        ([signal.SIGTERM], "SIGTERM", False),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], "SIGINT", False),  # the first counts
        ([signal.SIGUSR1], None, True),  # asks for a save and not to stop
    ],
)
def test_a_signal_is_remembered_by_name_and_nothing_is_interrupted(numbers, name, is_save):
    with StopRequest() as stop:
        for number in numbers:
            send(number)
        assert (stop.signal_name, stop.save_requested) == (name, is_save)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_sigint_after_a_first_signal_interrupts_at_once(first):
    with StopRequest(), pytest.raises(KeyboardInterrupt):
        send(first)
        send(signal.SIGINT)


def test_the_old_handlers_come_back_also_after_an_error():
    seen = []
    old = signal.signal(signal.SIGTERM, lambda *_: seen.append("old handler"))
    try:
        with pytest.raises(ZeroDivisionError), StopRequest():
            raise ZeroDivisionError
        send(signal.SIGTERM)
        assert seen == ["old handler"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, old)


def run(act: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(act=act)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)


def test_the_first_signal_interrupts_and_later_ones_do_not():
    with Termination(75, "") as termination:
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        assert termination.is_requested
        send(signal.SIGTERM)


def test_the_old_handler_comes_back():
    old = signal.getsignal(signal.SIGTERM)
    with Termination(75, "") as termination:
        pass
    assert signal.getsignal(signal.SIGTERM) is old
    assert not termination.is_requested
    assert signal.set_wakeup_fd(-1) == -1


def test_while_a_stop_request_stands_in_its_place_nothing_is_interrupted():
    with Termination(75, "", grace_seconds=0.01) as termination:
        with StopRequest() as stop:
            send(signal.SIGTERM)
        assert (stop.signal_name, termination.is_requested) == ("SIGTERM", False)
        with pytest.raises(KeyboardInterrupt):
            stop.pass_on()


def test_a_signal_after_the_block_changes_nothing_when_further_ones_are_to_be_ignored():
    old = signal.getsignal(signal.SIGTERM)
    try:
        with Termination(75, "") as termination:
            termination.ignore_further()
        send(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, old)


def test_what_waits_is_interrupted():
    said = run(f"{TERM_SOON}; time.sleep(60)")
    assert said.stderr.strip().endswith("KeyboardInterrupt"), said
    assert "left" not in said.stdout


@pytest.mark.parametrize("act", [COMPUTE, GO_ON])
def test_what_cannot_be_interrupted_is_ended_with_the_status_and_the_last_words(act):
    said = run(act)
    assert (said.returncode, said.stderr, said.stdout) == (75, "ended by force\n", ""), said
