"""Reading small files, whatever they turn out to be: devices, pipes, or far too large."""

import os
import select
import stat
import time
from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes of a configuration, a secret or a certificate."""
PIPE_WITHIN = 5.0
"""Seconds that whoever writes into a pipe, such as a shell's `<(…)`, has for all of it."""


def read_small(path: Path) -> bytes:
    """Read a file to its end.

    Raises:
        ValueError: says why it cannot be read, without its name: there is none, it has more than
            `LARGEST` bytes, or it is a pipe that nobody writes to, or that does not end.
    """
    try:
        # A pipe that nobody writes to is not waited for.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(file)
        finally:
            os.close(file)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def check_small(path: Path) -> None:
    """See that a file can be read by a library, more than once and to its end.

    Raises:
        ValueError: says why not.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(file)
        os.close(file)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file")
    if status.st_size > LARGEST:
        raise ValueError(_too_large())


def _read(file: int) -> bytes:
    parts = bytearray()
    deadline = time.monotonic() + PIPE_WITHIN
    while len(parts) <= LARGEST:
        try:
            part = os.read(file, LARGEST + 1 - len(parts))
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ValueError(f"did not come to an end within {PIPE_WITHIN:.0f} s") from None
            select.select([file], [], [], left)
            continue
        if not part:
            if not parts and stat.S_ISFIFO(os.fstat(file).st_mode):
                raise ValueError("is a pipe that nobody writes to")
            return bytes(parts)
        parts += part
    raise ValueError(_too_large())


def _too_large() -> str:
    return f"is larger than {LARGEST // 1024} KiB: is it the right file?"
