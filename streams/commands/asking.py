"""What commands share that ask the API: their options, and how they print what they are told."""

import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from streams.api.client import ApiClient
from streams.commands import following
from streams.commands.common import print_json, say
from streams.commands.following import Followed
from streams.commands.rows import FORMS, Form, Found, Item, RowPrinter
from streams.configuration.files import read_small
from streams.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "CAMPAIGN_STREAMS_URL"
TOKEN_VARIABLE = "CAMPAIGN_STREAMS_TOKEN"  # noqa: S105 - where the token is, not the token
CA_VARIABLE = "CAMPAIGN_STREAMS_CA_FILE"

limit = click.option("--limit", type=int, help="How many at most, up to 1000.")
cursor = click.option("--cursor", help="The next page: next_cursor of the one before.")


def with_api(run: Callable[..., None]) -> Callable[..., None]:
    """Add options of the API and `--json`; `run` is given an `ApiClient` and `as_json`."""

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
    @click.option(
        "--ca-file",
        type=click.Path(path_type=Path),
        envvar=CA_VARIABLE,
        metavar="FILE",
        help=f"PEM of who vouches for the API's certificate; otherwise {CA_VARIABLE}.",
    )
    @click.option("--json", "as_json", is_flag=True, help="The API's answer as it is.")
    @functools.wraps(run)
    def with_client(
        *, url: str, token_file: Path | None, ca_file: Path | None, **options: Any
    ) -> None:
        run(ApiClient(url, _token(token_file), _trusted(ca_file)), **options)

    return with_client


def with_output(run: Callable[..., None]) -> Callable[..., None]:
    """Add `--output`; `run` is given the form as `form`, in which `--json` is one as well."""

    @click.option(
        "--output",
        type=click.Choice(FORMS),
        help="The form: table (the default), json as --json, csv or ndjson.",
    )
    @functools.wraps(run)
    def with_form(*, output: Form | None, as_json: bool, **options: Any) -> None:
        if as_json and output not in {None, "json"}:
            raise click.UsageError("choose one: --json or --output")
        run(form="json" if as_json else output or "table", **options)

    return with_form


def asking(
    follow: Followed | None = None,
) -> Callable[[Callable[..., Found]], Callable[..., None]]:
    """Do as `with_api` and `with_output`, and print what the decorated function returns.

    Args:
        follow: what is new in a list that can be followed; it adds `--follow` and `--interval`.
    """

    def decorate(ask: Callable[..., Found]) -> Callable[..., None]:
        @functools.wraps(ask)
        def run(*, api: ApiClient, form: Form, **options: Any) -> None:
            if follow is not None and options.pop("follow"):
                interval = options.pop("interval")
                if form == "json":
                    raise click.UsageError("--follow has no end, so it needs --output ndjson")
                following.run(
                    functools.partial(ask, api, **options), follow, interval, RowPrinter(form)
                )
                return
            options.pop("interval", None)
            found = ask(api, **options)
            if form == "json":
                print_json(found.answer, indent=2)
            else:
                RowPrinter(form).print(found, found.rows)
                if form == "table":
                    _print_below(found)
            _print_notes(found.answer)

        return with_api(_positional(with_output(following.options(run) if follow else run)))

    return decorate


def _positional(run: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(run)
    def with_positional(api: ApiClient, **options: Any) -> None:
        run(api=api, **options)

    return with_positional


def _print_below(found: Found) -> None:
    if click.get_text_stream("stdout").isatty():
        for line in found.below:
            say(line)


def _trusted(file: Path | None) -> ssl.SSLContext | None:
    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):
        raise UsageError(f"--ca-file {file}: expected certificates in PEM") from None


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return read_small(file).decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {file}: is not UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--token-file {file}: {error}") from None


def _print_notes(answer: Item) -> None:
    if answer.get("next_cursor"):
        say(f"there are more: --cursor {answer['next_cursor']}, or --limit up to 1000", err=True)
    if answer.get("partial"):
        names = ", ".join(map(str, answer["missing_partitions"]))
        say(f"incomplete: partition {names} cannot be asked now, try again", err=True)
