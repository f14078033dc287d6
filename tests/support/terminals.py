"""A real pseudo-terminal, so many columns wide."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import tty
from collections.abc import Iterator

import pytest


class Terminal:
    """What was written to a terminal."""

    def __init__(self, master: int) -> None:
        self._master = master

    def read(self) -> str:
        """Return what was written since the last time."""
        sys.stdout.flush()
        written = b""
        while select.select([self._master], [], [], 0)[0]:
            written += os.read(self._master, 65_536)
        return written.decode()


@contextlib.contextmanager
def terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Have standard output be a terminal.

    What is written has to be read now and then: a terminal takes some kilobytes at a time.
    """
    master, slave = pty.openpty()
    tty.setraw(slave)  # otherwise \n would be written as \r\n
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(slave, "w", encoding="utf-8") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        try:
            yield Terminal(master)
        finally:
            os.close(master)
