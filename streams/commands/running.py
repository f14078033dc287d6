"""What SIGINT, SIGTERM and SIGHUP do to a command that runs.

Told to end for the first time it ends in order; told once more it ends at once, with 128 and the
signal's number as its exit status. While a command only reads its own code, or does nothing that
could be left half done, the first time is enough for that (`streams.signals`). What is ignored when
the program starts stays so: SIGHUP under `nohup`, SIGINT for a background job of a script.
"""

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from streams.cancelling import cancel
from streams.signals import ENDING, STATUS, end_at_once

T = TypeVar("T")


class Interrupted(BaseException):
    """A signal has ended the command in order.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = STATUS + number


@contextlib.contextmanager
def first_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the number of the first signal; the second one ends the process at once.

    For use inside a running event loop, whose turn it takes.
    """
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def signalled(number: int) -> None:
        if told:
            os._exit(STATUS + number)
        told.append(number)
        act(number)

    before = _not_ignored()
    for number in before:
        loop.add_signal_handler(number, signalled, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; the first signal cancels it.

    Raises:
        Interrupted: it was cancelled, and has ended.
    """
    told: list[int] = []

    async def cancellable() -> T:
        task = asyncio.ensure_future(work)

        def cancel(number: int) -> None:
            told.append(number)
            task.cancel()

        with first_signal(cancel):
            return await task

    try:
        result = asyncio.run(cancellable())
    except BaseException:
        if not told:
            raise
    else:
        if not told:
            return result
    raise Interrupted(told[0])


@contextlib.contextmanager
def stopped_by_signals(within: float) -> Iterator[asyncio.Event]:
    """Lend an event that the first signal sets; the process ends some seconds later at the latest.

    For use inside a running event loop.
    """
    stop = asyncio.Event()

    def begin_to_stop(_: int) -> None:
        stop.set()
        end_within(within, 0)

    with first_signal(begin_to_stop):
        yield stop


@contextlib.asynccontextmanager
async def entered(
    parts: contextlib.AbstractAsyncContextManager[T], stop: asyncio.Event
) -> AsyncIterator[T | None]:
    """Enter a context; lend None if told to stop before it was entered, and break that off."""
    starting = asyncio.ensure_future(parts.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not starting.done():
            await cancel(starting)
    if starting.cancelled() or (stop.is_set() and starting.exception()):
        yield None
        return
    lent = starting.result()
    try:
        yield lent
    except BaseException:
        if not await parts.__aexit__(*sys.exc_info()):
            raise
    else:
        await parts.__aexit__(None, None, None)


def end_within(seconds: float, status: int) -> None:
    """End the process by then, whatever hangs.

    Without a broker some task or thread of a client may not let itself be ended, and a process
    that has stopped working but stays in its group keeps others from taking over. Nothing is lost:
    what is not committed is read again.
    """
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()


def output_is_gone() -> bool:
    """Tell whether standard output or error is a pipe that nobody reads any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            poll.register(stream.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let the first signal raise `Interrupted`, where there is something to put in order."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        end_at_once()
        raise Interrupted(number)

    before = _not_ignored()
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _not_ignored() -> dict[signal.Signals, Any]:
    """Return the signals that whoever started the process has left to it, and who takes them."""
    handlers = {number: signal.getsignal(number) for number in ENDING}
    return {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}
