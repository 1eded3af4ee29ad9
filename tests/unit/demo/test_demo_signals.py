"""Signals that arrive while a part of the demonstration is being started."""

import os
import signal

import pytest

from fuagent.demo import street


def test_a_signal_waits_until_the_process_is_known():
    """What is being started is finished first; then the signal ends the demonstration as ever."""
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def start():
        with street._signals_held():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()

    assert steps == ["started"]
    assert signal.getsignal(signal.SIGINT) is before
