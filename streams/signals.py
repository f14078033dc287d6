"""SIGINT, SIGTERM and SIGHUP before a command has begun, and when it is over.

Imports next to nothing, so that it can be the first thing that the program does.
"""

import os
import signal
import sys
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATUS = 128
"""Plus the signal's number is the exit status of a program that a signal ended."""
RUN_UNTIL_STOPPED = ("worker", "dev")
"""Commands that have no other end: a signal is no failure of theirs."""


def end_at_once() -> None:
    """Let the signals end the process at once, without a word, until somebody else takes them."""
    for number in ENDING:
        # Whoever started the process may not want it to be told, as `nohup` does.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_at_once)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    runs_until_stopped = sys.argv[1:2] and sys.argv[1] in RUN_UNTIL_STOPPED
    os._exit(0 if runs_until_stopped else STATUS + number)
