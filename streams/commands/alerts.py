"""`campaign-streams alerts`: what people do with alerts."""

import getpass

import click

from streams.api.client import ApiClient
from streams.commands.asking import NAME_MOST, Columns, Item, asking
from streams.commands.common import PROGRAM, examples
from streams.domain.operators import LONGEST_COMMENT, LONGEST_NAME
from streams.errors import UsageError
from streams.terminal import abbreviated


@click.group(
    "alerts",
    epilog=examples(
        f"{PROGRAM} query alerts --state firing",
        f'{PROGRAM} alerts acknowledge 7b0c6f52-… --comment "the provider is down"',
    ),
)
def command() -> None:
    """Acknowledge alerts; `query alerts` lists them."""


@command.command(epilog=examples(f"{PROGRAM} alerts acknowledge 7b0c6f52-… --by ana"))
@click.argument("alert_id")
@click.option(
    "--by",
    metavar="NAME",
    help=f"Who does, up to {LONGEST_NAME} characters; otherwise the name you are logged in by.",
)
@click.option("--comment", help=f"What you say about it, up to {LONGEST_COMMENT} characters.")
@asking
def acknowledge(
    api: ApiClient, alert_id: str, by: str | None, comment: str | None
) -> tuple[Item, list[Item], Columns]:
    """Take a firing alert on: there are no more reminders of it.

    That holds until it ends; if it comes back it has to be acknowledged anew. Doing it again
    changes nothing.
    """
    answer = api.post(
        "v1", "alerts", alert_id, "acknowledge", by=by or _own_name(), comment=comment
    )
    columns: Columns = {
        "alert": lambda row: row["alert_id"],
        "rule": lambda row: row["rule"],
        "campaign": lambda row: abbreviated(row["campaign_id"], NAME_MOST),
        "acknowledged by": lambda row: row["acknowledged"]["by"],
        "at": lambda row: row["acknowledged"]["at"],
        "comment": lambda row: row["acknowledged"]["comment"],
    }
    return answer, [answer["alert"]], columns


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("--by: you are logged in by no name, so say who you are") from None
