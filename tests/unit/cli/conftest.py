"""The program on a terminal of its own, as a person has it in front of them."""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

PATIENCE = 60.0


def _in_front_of_a_person():
    """The terminal is this process's own, and Ctrl-C ends it also where the tests run in the background, without SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """One run of the program behind a pseudo-terminal, wide enough for the longest path of a temporary directory."""

    def __init__(self, directory, *arguments):
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 240, 0, 0))
        # A worker of a test run has COLUMNS and LINES in its environment, which count for more than the size itself.
        foreign = ("FUAGENT_", "NO_COLOR", "COLUMNS", "LINES")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fuagent", *arguments],
            cwd=directory,
            env={**environment, "TERM": "xterm"},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=_in_front_of_a_person,  # noqa: PLW1509 - so that Ctrl-C reaches it
        )
        os.close(side)
        self.seen = ""

    def expect(self, text):
        """Read until ``text`` was shown."""
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            assert self._read(), self.seen

    def say(self, text):
        """Type ``text``."""
        os.write(self._main, text.encode())

    def interrupt(self):
        """Type Ctrl-C once the question is being waited for: a signal before that is heard with the next key only."""
        end = time.monotonic() + PATIENCE
        while self._state != "S":
            assert time.monotonic() < end, self.seen
            time.sleep(0.01)
        self.say("\x03")

    def end(self):
        """Read to the end; gives the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def close(self):
        """Leave nothing behind."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._main)

    @property
    def _state(self):
        """What Linux says the process does: R runs, S sleeps."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0]

    def _read(self):
        if not select.select([self._main], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self._main, 65536)
        except OSError as error:  # Linux says so when the other side is closed
            assert error.errno == errno.EIO
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(tmp_path):
    """Starts the program in the test's directory on a terminal."""
    started = []

    def start(*arguments):
        started.append(Terminal(tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
