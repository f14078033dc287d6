"""`campaign-streams alerts`: what people do with alerts."""

import getpass

import click

from streams.api import answers
from streams.api.client import ApiClient
from streams.commands.asking import asking
from streams.commands.common import PROGRAM, examples
from streams.commands.rows import Columns, Found, shown_name
from streams.commands.tables import Column
from streams.domain.operators import LONGEST_COMMENT, LONGEST_NAME
from streams.errors import UsageError


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
@asking()
def acknowledge(api: ApiClient, alert_id: str, by: str | None, comment: str | None) -> Found:
    """Take a firing alert on: there are no more reminders of it.

    That holds until it ends; if it comes back it has to be acknowledged anew. Doing it again
    changes nothing.
    """
    answer = api.post(
        "v1", "alerts", alert_id, "acknowledge", by=by or _own_name(), comment=comment
    )
    columns: Columns = {
        Column("alert", 1, 12): lambda row: row["alert_id"],
        Column("rule", 2, 10): lambda row: row["rule"],
        Column("campaign", 0, 12): lambda row: shown_name(row["campaign_id"]),
        Column("name", 1, 12): lambda row: shown_name(row.get("campaign_name")),
        Column("acknowledged by", 0, 15): lambda row: row["acknowledged"]["by"],
        Column("at", 2, 20): lambda row: row["acknowledged"]["at"],
        Column("comment", 3, 10): lambda row: row["acknowledged"]["comment"],
    }
    return Found(answer, [answer["alert"]], columns, answers.Alert)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("--by: you are logged in by no name, so say who you are") from None
