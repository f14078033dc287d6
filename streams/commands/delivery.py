"""`campaign-streams delivery`: deliveries to receivers made again."""

import sys
from typing import Any

import click

from streams.api.client import ApiClient
from streams.commands.asking import with_api
from streams.commands.common import PROGRAM, examples, print_json, say
from streams.commands.times import Since
from streams.errors import UserError

Answer = dict[str, Any]


@click.group(
    "delivery",
    epilog=examples(
        f"{PROGRAM} query deliveries --state given-up",
        f"{PROGRAM} delivery replay --receiver ops --since 10:00 --dry-run",
    ),
)
def command() -> None:
    """Send deliveries again that were given up or delivered; `query deliveries` lists them."""


@command.command(
    "replay",
    epilog=examples(
        f"{PROGRAM} delivery replay 5f0c9d52-….1.ops",
        f"{PROGRAM} delivery replay --receiver ops --since 10:00",
        f"{PROGRAM} delivery replay --receiver ops --state delivered --since 2h --until 1h",
    ),
)
@click.argument("delivery_id", required=False)
@click.option("--receiver", help="All of this receiver that match the other options.")
@click.option("--state", help="given-up (as without it) or delivered.")
@click.option(
    "--since",
    type=Since(),
    metavar="TIME|DURATION",
    help="Only what was decided since: 10:00 (UTC), 2026-11-23T10:00:00Z, or 2h ago.",
)
@click.option(
    "--until", type=Since(), metavar="TIME|DURATION", help="Only what was decided before."
)
@click.option("--campaign-id", help="Only what is about this campaign.")
@click.option("--alert-id", help="Only what is about this alert.")
@click.option("--rule", help="Only what is about alerts of this rule.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@with_api
def replay(api: ApiClient, *, delivery_id: str | None, as_json: bool, **options: Any) -> None:
    """Make one delivery again, or all of a receiver that match; the webhook-id stays the same.

    A token needs the scope write. On a terminal the number is shown first and has to be confirmed.
    """
    receiver, dry_run, yes = (options.pop(name) for name in ("receiver", "dry_run", "yes"))
    if (delivery_id is None) == (receiver is None):
        raise click.UsageError("give either the id of one delivery, or --receiver")
    if delivery_id is not None:
        if dry_run or any(value is not None for value in options.values()):
            raise click.UsageError("a delivery's id needs no other options than --json")
        _replay_one(api, delivery_id, as_json=as_json)
        return
    asked = {
        "from": _in_ms(options.pop("since")),
        "to": _in_ms(options.pop("until")),
        **options,
    }
    if not dry_run and not yes and sys.stdin.isatty():
        matched = _ask(api, receiver, asked, dry_run=True)["matched"]
        click.confirm(f"{matched} deliveries to {receiver} match: replay them?", abort=True)
    answer = _ask(api, receiver, asked, dry_run=dry_run)
    if as_json:
        print_json(answer, indent=2)
    elif dry_run:
        say(f"{answer['matched']} deliveries to {receiver} match")
    else:
        say(f"{answer['replayed']} deliveries to {receiver} are made again")
    if answer["partial"]:
        missing = ", ".join(map(str, answer["missing_partitions"]))
        raise UserError(f"incomplete: partition {missing} cannot be asked now, try again")


def _replay_one(api: ApiClient, delivery_id: str, *, as_json: bool) -> None:
    answer = api.post("v1", "deliveries", delivery_id, "replay")
    if as_json:
        print_json(answer, indent=2)
    else:
        say(f"delivery {delivery_id} is made again")


def _ask(api: ApiClient, receiver: str, asked: Answer, *, dry_run: bool) -> Answer:
    given = {**asked, "dry_run": "true"} if dry_run else asked
    return api.post("v1", "receivers", receiver, "replay", **given)


def _in_ms(time: float | None) -> int | None:
    return None if time is None else round(time * 1000)
