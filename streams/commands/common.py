"""What commands share: the program's name, examples in the help, and printing.

Imported by `campaign-streams --help`, so it imports nothing that takes long.
"""

import json
import math
import sys
from typing import Any, TextIO

import click

from streams.terminal import printable, printable_json

PROGRAM = "campaign-streams"


class EventRate(click.FloatRange):
    """An option's type: events per second, a number that somebody can mean."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=1e9)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Refuse `nan` too, which is in every range."""
        rate: float = super().convert(value, param, ctx)
        if math.isnan(rate):
            self.fail(f"{value} is not a number.", param, ctx)
        return rate


def examples(*lines: str) -> str:
    """Make the `epilog` of a command: how it is used, one line each."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    # \b keeps click from joining the lines.
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def print_error(message: str) -> None:
    """Print an error on standard error, each line after the program's name."""
    for line in message.strip("\n").split("\n"):
        say(f"{PROGRAM}: {line}", err=True)


def say(line: str, *, err: bool = False) -> None:
    """Print a line for a person, on standard output or error; nothing in it steers the terminal."""
    click.echo(writable(printable(line), sys.stderr if err else sys.stdout), err=err)


def writable(text: str, stream: TextIO) -> str:
    """Write what a stream's encoding does not have as an escape; most streams have everything."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a JSON document; what could steer the terminal is escaped in it."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    click.echo(printable_json(json.dumps(value, indent=indent, ensure_ascii=not is_unicode)))
