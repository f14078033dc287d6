"""A progress bar on standard error, if that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

Advance = Callable[[int, float], None]
"""Takes how many more events there were, and how much of the total has been done by now."""


@contextmanager
def progress(total: float | None, *, in_bytes: bool = False) -> Iterator[Advance]:
    """Show how far it is and how many events a second; `total` None: nobody knows."""
    if not sys.stderr.isatty():
        yield lambda _events, _done: None
        return
    columns = [
        bars.BarColumn(),
        bars.DownloadColumn() if in_bytes else bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[count]:,} events, {task.fields[speed]:,.0f}/s"),
        bars.TimeRemainingColumn(),
    ]
    started = time.monotonic()
    count = 0
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, count=0, speed=0.0)

        def advance(events: int, done: float) -> None:
            nonlocal count
            count += events
            speed = count / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=done, count=count, speed=speed)

        yield advance
