"""Signals that arrive while the demonstration plays."""

import os
import signal

import pytest

from fuagent.demo import street


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_a_place_to_end(number):
    """What is under way is finished first; then the signal ends the demonstration."""
    before = signal.getsignal(number)
    steps = []

    def play():
        with street._signals_noted() as heed:
            heed()
            os.kill(os.getpid(), number)
            steps.append("finished")
            heed()
            steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        play()

    assert steps == ["finished"]
    assert signal.getsignal(number) is before


def test_a_signal_in_the_last_moment():
    """One that arrives behind the last such place counts all the same."""
    before = signal.getsignal(signal.SIGINT)  # a run in the background may have been begun without it

    def play():
        with street._signals_noted():
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        play()

    assert signal.getsignal(signal.SIGINT) is before
