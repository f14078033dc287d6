"""`campaign-streams explain`: why rules fire in a campaign, or why not, in the terminal."""

from typing import Any

import click

from streams.api import explained_answers as answers
from streams.api.client import ApiClient
from streams.commands.asking import asking
from streams.commands.common import PROGRAM, examples
from streams.commands.rows import Columns, Found, Item, shown_name
from streams.commands.tables import Column


@click.command(
    "explain",
    epilog=examples(
        f"{PROGRAM} explain spring-sale",
        f"{PROGRAM} explain spring-sale --rule failure-spike --at 2026-11-23T03:00:00Z",
        f"{PROGRAM} explain spring-sale --json | jq '.standings[0].requirements'",
    ),
)
@click.argument("campaign_id")
@click.option("--rule", help="Only this rule.")
@click.option(
    "--at", metavar="TIME", help="RFC 3339, or milliseconds since the epoch; now without it."
)
@asking()
def command(api: ApiClient, campaign_id: str, **options: Any) -> Found:
    """Say why rules fire in a campaign, or why not, in figures.

    For a moment of the past, rules are evaluated again on the windows that are retained.
    """
    answer = api.get("v1", "campaigns", campaign_id, "explain", **options)
    rows = answer["standings"]
    columns: Columns = {
        Column("rule", 0, 12): lambda row: row["rule"],
        Column("standing", 0, 13, is_state=True): lambda row: row["standing"],
        Column("hits", 3): lambda row: f"{row['hits']} of {row['attempts']}",
        Column("usual", 2): lambda row: _percent(row["usual_rate"]),
        Column("missing", 1): lambda row: (
            "" if row["hits_missing"] is None else row["hits_missing"]
        ),
        Column("why", 0, 20): lambda row: row["why"],
    }
    if any(row["treatment_id"] is not None for row in rows):
        columns[Column("treatment", 1)] = lambda row: shown_name(row["treatment_id"])
    if any(row["channel_type"] is not None for row in rows):
        columns[Column("channel", 1)] = lambda row: shown_name(row["channel_type"])
    return Found(answer, rows, columns, answers.Standing, below(answer))


def below(answer: Item) -> list[str]:
    """Say of when the answer is, what it is worked out from, and all that has to hold."""
    basis = answer["basis"]
    at = f"at {answer['at']}"
    if basis["kind"] == "windows":
        at += (
            f", told again from {basis['windows']} windows in steps of {basis['grain_seconds']:g} s"
        )
    lines = [at]
    for row in answer["standings"]:
        lines += [f"{row['rule']}: {told}" for told in (row["why"], *row["notes"])]
        lines += [
            f"{row['rule']}: {'holds' if each['is_met'] else 'lacks'}: {each['text']}"
            for each in row["requirements"]
        ]
    for each in answer["episodes"]:
        until = each["ends_at"] or "now"
        lines.append(
            f"{each['rule']} fired from {each['starts_at']} to {until}: {each['alert_id']}"
        )
    return lines


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"
