"""Signals ask to stop; they interrupt nothing, except a second SIGINT."""

from __future__ import annotations

import os
import signal

import pytest

from headwater.machine.host.signals import StopRequest


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_by_name_and_nothing_is_interrupted(number):
    with StopRequest() as stop:
        assert stop.signal_name is None
        send(number)
        assert stop.signal_name == number.name


def test_the_first_signal_counts():
    with StopRequest() as stop:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop.signal_name == "SIGINT"


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


def test_sigusr1_asks_for_a_save_and_not_to_stop():
    with StopRequest() as stop:
        send(signal.SIGUSR1)
        assert stop.save_requested
        assert stop.signal_name is None
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
