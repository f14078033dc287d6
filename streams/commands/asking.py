"""What commands share that ask the API: their options, and the tables that they print."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from streams.api.client import ApiClient
from streams.commands.common import print_json, say
from streams.commands.tables import print_table
from streams.configuration.files import read_small
from streams.errors import UsageError
from streams.terminal import abbreviated, printable

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "CAMPAIGN_STREAMS_URL"
TOKEN_VARIABLE = "CAMPAIGN_STREAMS_TOKEN"  # noqa: S105 - where the token is, not the token
_WIDE = 10_000
NAME_MOST = 64
"""Characters of a name in a table, where the vendor's have 32; `--json` has all of it."""

limit = click.option("--limit", type=int, help="How many at most, up to 1000.")

Item = dict[str, Any]
Columns = dict[str, Callable[[Item], object]]


def with_api(run: Callable[..., None]) -> Callable[..., None]:
    """Add `--url`, `--token-file` and `--json`; `run` is given an `ApiClient` and `as_json`."""

    @click.option(
        "--url",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        help=f"The API of any worker; otherwise {URL_VARIABLE}.",
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"A file that holds the token; otherwise {TOKEN_VARIABLE}.",
    )
    @click.option("--json", "as_json", is_flag=True, help="The API's answer as it is.")
    @functools.wraps(run)
    def with_client(*, url: str, token_file: Path | None, **options: Any) -> None:
        run(ApiClient(url, _token(token_file)), **options)

    return with_client


def asking(ask: Callable[..., tuple[Item, list[Item], Columns]]) -> Callable[..., None]:
    """Do as `with_api`, and print what `ask` returns.

    That is the API's answer, the rows of the table, and its columns.
    """

    @with_api
    @functools.wraps(ask)
    def run(api: ApiClient, *, as_json: bool, **options: Any) -> None:
        answer, rows, columns = ask(api, **options)
        if as_json:
            print_json(answer, indent=2)
        else:
            print_rows(rows, columns)
        _print_notes(answer)

    return run


def shown_name(name: str | None) -> str:
    """Return a name as a table has it: not all of it if it is very long."""
    return abbreviated(name or "", NAME_MOST)


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return read_small(file).decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {file}: is not UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--token-file {file}: {error}") from None


def print_rows(rows: Iterable[Item], columns: Columns) -> None:
    """Print rows as a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [[show(row) for show in columns.values()] for row in rows]
    for at, name in enumerate(columns):
        numbers = any(isinstance(row[at], int | float) for row in cells)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(printable(str("" if c is None else c))) for c in row))
    print_table(table, _WIDE)


def _print_notes(answer: Item) -> None:
    if answer.get("next_cursor"):
        say("there are more: --limit shows up to 1000, --json has next_cursor", err=True)
    if answer.get("partial"):
        names = ", ".join(map(str, answer["missing_partitions"]))
        say(f"incomplete: partition {names} cannot be asked now, try again", err=True)
