"""The options of commands that ask the API of a worker."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from streams.api.client import ApiClient
from streams.configuration.files import read_small
from streams.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "CAMPAIGN_STREAMS_URL"
TOKEN_VARIABLE = "CAMPAIGN_STREAMS_TOKEN"  # noqa: S105 - where the token is, not the token


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
    def asking(*, url: str, token_file: Path | None, **options: Any) -> None:
        run(ApiClient(url, _token(token_file)), **options)

    return asking


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return read_small(file).decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {file}: is not UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--token-file {file}: {error}") from None
