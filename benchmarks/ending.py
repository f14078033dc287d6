"""Ending in order: what a benchmark has started ends with it."""

import signal
import sys


def end_on_sigterm() -> None:
    """Let SIGTERM unwind the program as Ctrl-C does, so that brokers and contenders are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
