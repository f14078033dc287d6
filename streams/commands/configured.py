"""The options `--config` and `--set`, and the configuration that they and the environment give."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog

from streams.configuration.doubts import doubts
from streams.configuration.load import Loaded, read
from streams.configuration.models import Configuration

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


def with_configuration(**keys: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Add `--config` and `--set`, and pass the `Configuration` as `configuration`.

    Args:
        keys: options of the command that set a key, by parameter: `port="http.port"`. They win
            over `--set`, and are not passed on to the command. None means not given.
    """

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @with_sources(**keys)
        @functools.wraps(command)
        def run(*args: Any, loaded: Loaded, **options: Any) -> Result:
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
            given = {key: options.pop(name) for name, key in keys.items()}
            overrides = {**_pairs(settings), **{k: v for k, v in given.items() if v is not None}}
            return command(*args, loaded=read(config_file, os.environ, overrides), **options)

        return run

    return decorate


def log_doubts(configuration: Configuration) -> None:
    """Warn, in the log, of what the configuration says but hardly means."""
    for doubt in doubts(configuration):
        log.warning(doubt)


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
