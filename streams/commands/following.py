"""`--follow`: a list asked for again and again, of which what is new is told."""

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from streams.commands.common import print_error
from streams.commands.rows import Found, Item, RowPrinter
from streams.commands.running import interruptible
from streams.commands.times import Duration
from streams.errors import UsageError, UserError

_MOST_REMEMBERED = 100_000
"""Rows that were told; beyond that those that were in no answer for the longest are forgotten."""
_LEAST_INTERVAL = 0.2


@dataclass(frozen=True, slots=True)
class Followed:
    """What is new in a list.

    Args:
        key: the fields that tell rows apart.
        news: the fields that make a row new if they change.
        newest_first: whether the list has its newest first; what is told has them last.
    """

    key: tuple[str, ...]
    news: tuple[str, ...]
    newest_first: bool = False


def options(run: Callable[..., None]) -> Callable[..., None]:
    """Add `--follow` and `--interval`."""

    @click.option(
        "--follow",
        "-f",
        is_flag=True,
        help="Ask again and again, and tell what is new or has changed; Ctrl-C ends it.",
    )
    @click.option(
        "--interval",
        type=Duration(),
        default="2s",
        show_default=True,
        help="With --follow: the time between two questions.",
    )
    @functools.wraps(run)
    def with_follow(**given: Any) -> None:
        if given["interval"] < _LEAST_INTERVAL:
            raise click.UsageError(f"--interval: expected at least {_LEAST_INTERVAL:g}s")
        run(**given)

    return with_follow


def run(ask: Callable[[], Found], followed: Followed, interval: float, printer: RowPrinter) -> None:
    """Ask every `interval` seconds, until a signal ends it; an API that is away is waited for.

    Raises:
        UserError: the first question has no answer, or a question is wrong.
        Interrupted: a signal has ended it.
    """
    news = News(followed)
    trouble: str | None = None
    with interruptible():
        _tell(printer, ask(), news)
        while True:
            time.sleep(interval)
            try:
                found = ask()
            except UsageError:
                raise
            except UserError as error:
                if str(error) != trouble:
                    print_error(f"{error}; asking again")
                trouble = str(error)
                continue
            trouble = None
            _tell(printer, found, news)


def _tell(printer: RowPrinter, found: Found, news: "News") -> None:
    rows = news.of(found.rows)
    if rows:
        printer.print(found, rows)
        sys.stdout.flush()


class News:
    """Remembers what was told.

    Args:
        followed: what is new.
    """

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._told: dict[str, int] = {}

    def of(self, rows: Sequence[Item]) -> list[Item]:
        """Return the rows that are new or have changed, the newest last."""
        new = []
        for row in reversed(rows) if self._followed.newest_first else rows:
            key = _written(row, self._followed.key)
            state = hash(_written(row, self._followed.news))
            if self._told.pop(key, None) != state:
                new.append(row)
            self._told[key] = state
        while len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        return new


def _written(row: Item, names: tuple[str, ...]) -> str:
    return json.dumps([row.get(name) for name in names], sort_keys=True)
