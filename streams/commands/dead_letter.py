"""`campaign-streams dead-letter`: dead letters are listed and replayed."""

import logging
import sys
from typing import Any

import click

from streams.commands import dead_letter_output as output
from streams.commands import running
from streams.commands.common import PROGRAM, examples, say
from streams.commands.configured import with_configuration
from streams.commands.rows import FORMS, Form
from streams.commands.times import Since
from streams.configuration.models import Configuration
from streams.domain.events import Reason
from streams.engine.cluster.client import check_broker
from streams.engine.dead_letters.listing import Listing, Place, Selection
from streams.engine.dead_letters.replay import DeadLetterTopic, Replayed


class At(click.ParamType):
    """The place of a dead letter."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Read `partition:offset`."""
        try:
            return Place.parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.group(
    "dead-letter",
    epilog=examples(
        f"{PROGRAM} dead-letter list --since 24h",
        f"{PROGRAM} dead-letter replay --reason missing-field",
    ),
)
def command() -> None:
    """Look at the records that could not be counted, and send them through again."""


_reason = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
    help="Only those rejected for this reason. Can be repeated.",
)


@command.command(
    "list",
    epilog=examples(
        f"{PROGRAM} dead-letter list --reason not-json --values",
        f"{PROGRAM} dead-letter list --since 24h --limit 100000 --json > dead.ndjson",
    ),
)
@_reason
@click.option(
    "--since",
    type=Since(),
    metavar="TIME|DURATION",
    help="Only those dead-lettered since: 2026-11-23T10:00:00Z, or 24h for the last 24 hours.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Only the newest N; the summary counts all.",
)
@click.option("--values", is_flag=True, help="Show how the records begin, too.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output ndjson.")
@click.option(
    "--output",
    "form",
    type=click.Choice(FORMS),
    help="The form: table (the default), json, csv, or ndjson: one JSON object a line.",
)
@with_configuration()
def list_(
    configuration: Configuration,
    reasons: tuple[str, ...],
    since: float | None,
    limit: int,
    values: bool,
    as_json: bool,
    form: Form | None,
) -> None:
    """List dead letters, newest last, and how many there are by reason.

    `where` is the place in the dead-letter topic (partition:offset), `source` the place of the
    record that it was. In any form but the table records are whole; bytes that are no UTF-8 come in
    base64, under a name that ends in `_base64`.
    """
    if as_json and form is not None:
        raise click.UsageError("choose one: --json or --output")
    form = form or ("ndjson" if as_json else "table")
    selection = Selection(reasons=frozenset(reasons) or None, since=since)
    listing = running.run(_list(configuration, selection, limit))
    if form != "table":
        output.print_letters(listing, form)
    elif listing.reasons:
        output.print_table(listing, values=values)
    else:
        some = " of this kind" if reasons or since is not None else ""
        say(f"there are no dead letters{some} in {configuration.topics.dead_letter}")


async def _list(configuration: Configuration, selection: Selection, limit: int) -> Listing:
    return await (await _topic(configuration)).newest(selection, limit)


@command.command(
    "replay",
    epilog=examples(
        f"{PROGRAM} dead-letter replay --reason missing-field --dry-run",
        f"{PROGRAM} dead-letter replay --at 0:17 --at 2:4",
        f"{PROGRAM} dead-letter replay --all --yes",
    ),
)
@_reason
@click.option(
    "--at",
    "places",
    multiple=True,
    type=At(),
    metavar="PARTITION:OFFSET",
    help="The one at this place in the dead-letter topic. Can be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
@with_configuration()
def replay(
    configuration: Configuration,
    reasons: tuple[str, ...],
    places: tuple[Place, ...],
    everything: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Send dead letters through again: as they came, to the topic that they came from.

    Each is replayed at most once, however often this is called and whatever fails meanwhile: a
    marker in the dead-letter topic is written in the same Kafka transaction. Only one replay can
    be under way; a second one ends the first. What is bad still becomes a new dead letter. Those
    that were cut off, as their topic did not take the whole record, are left out: `list` says where
    in the source topic the record is.

    With kafka.guarantee at-least-once there is no transaction: a replay that is interrupted may
    send some records again when it is repeated.
    """
    if [bool(reasons), bool(places), everything].count(True) != 1:
        raise click.UsageError("choose one: --reason, --at or --all")
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask: add --yes, or --dry-run")
    selection = Selection(frozenset(reasons) or None, frozenset(places) or None)
    before = truncated = 0
    if not yes or dry_run:
        chosen, topics, before, truncated = running.run(_look(configuration, selection))
        say(f"{_count(len(chosen))} to replay{topics}{_left_out(before, truncated)}")
        if dry_run or not chosen:
            return 0
        if not click.confirm("Replay?"):
            say("nothing was replayed")
            return 1
        # The user agreed to the listed dead letters, not to those that came since.
        selection = Selection(places=chosen)
    done = running.run(_replay(configuration, selection))
    left_out = _left_out(before + done.before, truncated + done.truncated)
    say(f"{_count(done.sent)} replayed{left_out}")
    return 0


async def _look(
    configuration: Configuration, selection: Selection
) -> tuple[frozenset[Place], str, int, int]:
    plan = await (await _topic(configuration)).plan(selection)
    names = sorted({target.topic for target in plan.targets.values()})
    topics = f" to {', '.join(names)}" if names else ""
    return frozenset(plan.targets), topics, len(plan.replayed), len(plan.truncated)


async def _replay(configuration: Configuration, selection: Selection) -> Replayed:
    return await (await _topic(configuration)).replay(selection)


async def _topic(configuration: Configuration) -> DeadLetterTopic:
    # What the client has to say is in the error. asyncio would add what aiokafka leaves lying
    # about when another replay ends this one.
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    await check_broker(configuration.kafka)
    return DeadLetterTopic(configuration)


def _count(letters: int) -> str:
    return f"{letters:,} dead letter{'' if letters == 1 else 's'}"


def _left_out(before: int, truncated: int) -> str:
    reasons = {"replayed before": before, "cut off, so not whole": truncated}
    parts = [f"{letters:,} left out: {why}" for why, letters in reasons.items() if letters]
    return f" ({'; '.join(parts)})" if parts else ""
