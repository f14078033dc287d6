"""Tables on standard output or error."""

import click
from rich.console import Console
from rich.table import Table


def print_table(table: Table, width: int, *, err: bool = False) -> None:
    """Print a table; `width` is its widest, in columns, where no terminal says how wide it is."""
    console = Console(stderr=err)
    if not console.is_terminal:
        console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    click.echo(captured.get(), nl=False, err=err)
