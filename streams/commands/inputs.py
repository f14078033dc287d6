"""Files that commands read: by their names, or `-` for standard input."""

import contextlib
import os
import shutil
import stat
import tempfile
from io import FileIO
from pathlib import Path

from streams.errors import UserError

STDIN = "-"


def input_name(file: str) -> str:
    """Return what a file is called in messages."""
    return "standard input" if file == STDIN else file


def opened(file: str, stack: contextlib.ExitStack, *, again: bool = False) -> FileIO:
    """Open a file; standard input is copied to a temporary file first if it has to be read again.

    Nothing is buffered here: Python cannot end while a thread waits in a buffer's lock.
    """
    if file != STDIN:
        try:
            return stack.enter_context(Path(file).open("rb", buffering=0))
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from error
    stdin = stack.enter_context(open(0, "rb", buffering=0, closefd=False))  # noqa: SIM115 - the stack does
    if not again:
        return stdin
    # On POSIX a temporary file is the plain file itself.
    copy = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - the stack does
    shutil.copyfileobj(stdin, copy)
    copy.seek(0)
    return copy


def size_of(stream: FileIO) -> int:
    """Return the bytes of a file, and 0 for a pipe."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def position_of(stream: FileIO) -> int:
    """Return how many bytes were read of a file, and 0 for a pipe."""
    return stream.tell() if stream.seekable() else 0
