"""The program, in which an event loop says so when it is used from another thread than its own.

All of a loop's methods but `call_soon_threadsafe` are for its own thread. Whoever breaks the rule
gets away with it nearly always, and now and then the process ends with SIGSEGV. In debug mode a
loop raises an exception instead, which many a client swallows.
"""

import functools
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from streams.signals import end_at_once

MODULE = "tests.support.guarded_loops"
FOREIGN = "an event loop is used from another thread"
METHODS = (
    "add_reader",
    "add_writer",
    "call_at",
    "call_later",
    "call_soon",
    "create_connection",
    "create_task",
    "remove_reader",
    "remove_writer",
)


class ThreadGuard:
    """Knows the thread that each loop runs in, and prints who uses a loop from another one."""

    def __init__(self) -> None:
        self._threads: dict[int, int] = {}

    def install(self, loops: Any) -> None:
        """Watch all loops of a class."""
        loops.run_forever = self._noting(loops.run_forever)
        for name in METHODS:
            setattr(loops, name, self._checking(getattr(loops, name)))

    def _noting(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(run)
        def run_forever(loop: Any) -> None:
            self._threads[id(loop)] = threading.get_ident()
            try:
                run(loop)
            finally:
                del self._threads[id(loop)]

        return run_forever

    def _checking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def checking(loop: Any, *args: Any, **options: Any) -> Any:
            here = threading.get_ident()
            if self._threads.get(id(loop), here) != here:
                stack = "".join(traceback.format_stack()[:-1])
                sys.stderr.write(f"{FOREIGN}: {method.__name__}\n{stack}")
            return method(loop, *args, **options)

        return checking


def main() -> None:
    """Watch the loops, then run the program; signals end it at once until it has begun."""
    end_at_once()
    import uvloop  # noqa: PLC0415 - it takes a while, and a signal may come in it

    ThreadGuard().install(uvloop.Loop)
    from streams.commands import main as run  # noqa: PLC0415 - as above

    run()


if __name__ == "__main__":
    main()
