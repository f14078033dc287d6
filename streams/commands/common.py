"""What commands share: the options that choose the configuration, and examples in the help."""

import functools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streams.terminal import printable, printable_json

if TYPE_CHECKING:
    from rich.table import Table

    from streams.configuration.load import Loaded
    from streams.configuration.models import Configuration

PROGRAM = "campaign-streams"
Result = TypeVar("Result")


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


def with_configuration(**keys: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Add `--config` and `--set`, and pass the `Configuration` as `configuration`.

    Args:
        keys: options of the command that set a key, by parameter: `port="http.port"`. They win
            over `--set`; the command still gets them. None means not given.
    """

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @with_sources(**keys)
        @functools.wraps(command)
        def run(*args: Any, loaded: "Loaded", **options: Any) -> Result:
            return command(*args, configuration=loaded.configuration, **options)

        return run

    return decorate


def with_sources(**keys: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Do as `with_configuration`, but pass `loaded`, which knows where the values came from."""

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration; otherwise CAMPAIGN_STREAMS_CONFIG, or "
            "config/campaign-streams.yaml if it exists.",
        )
        @click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set one key, such as http.port=9090. Can be repeated.",
        )
        @functools.wraps(command)
        def run(
            *args: Any, config_file: Path | None, settings: tuple[str, ...], **options: Any
        ) -> Result:
            # Not at the top: `--help` should not wait for it.
            from streams.configuration.load import read  # noqa: PLC0415

            given = {key: options.get(name) for name, key in keys.items()}
            overrides = {**_pairs(settings), **{k: v for k, v in given.items() if v is not None}}
            return command(*args, loaded=read(config_file, os.environ, overrides), **options)

        return run

    return decorate


def log_doubts(configuration: "Configuration") -> None:
    """Warn, in the log, of what the configuration says but hardly means."""
    import structlog  # noqa: PLC0415 - not needed for --help

    from streams.configuration.doubts import doubts  # noqa: PLC0415 - pydantic

    for doubt in doubts(configuration):
        structlog.get_logger(__name__).warning(doubt)


def _pairs(settings: tuple[str, ...]) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                "expected KEY=VALUE, such as http.port=9090", param_hint="--set"
            )
        pairs[key] = value
    return pairs


def complain(message: str) -> None:
    """Say on standard error what is wrong, each line with the program's name."""
    for line in message.strip("\n").split("\n"):
        say(f"{PROGRAM}: {line}", err=True)


def say(line: str, *, err: bool = False) -> None:
    """Print a line for a person, on standard output or error; nothing in it steers the terminal."""
    click.echo(printable(line), err=err)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a JSON document; what could steer the terminal is escaped in it."""
    click.echo(printable_json(json.dumps(value, indent=indent, ensure_ascii=False)))


def print_table(table: "Table", width: int) -> None:
    """Print a table; `width` is its widest where no terminal says how wide it is."""
    from rich.console import Console  # noqa: PLC0415 - not needed for --help

    console = Console()
    if not console.is_terminal:
        console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    click.echo(captured.get(), nl=False)
