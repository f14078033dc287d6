"""`campaign-streams topics`: the topics."""

import click

from streams.commands import running
from streams.commands.common import PROGRAM, examples, say
from streams.commands.configured import with_configuration
from streams.configuration.models import Configuration
from streams.engine.cluster.client import check_broker, connection
from streams.engine.cluster.topics import TopicAdmin


@click.group("topics", epilog=examples(f"{PROGRAM} topics create"))
def command() -> None:
    """Make the topics."""


@command.command(
    "create", epilog=examples(f"{PROGRAM} topics create --set topics.replication_factor=3")
)
@with_configuration()
def create(configuration: Configuration) -> None:
    """Make the topics that are missing, with the right partitions and settings, and check all.

    Running it twice is harmless: a topic that exists is left as it is, and what has to be changed
    in it is said.
    """
    for name, partitions in running.run(_create(configuration)).items():
        say(f"{name}: {partitions} partitions")


async def _create(configuration: Configuration) -> dict[str, int]:
    await check_broker(configuration.kafka)
    return await TopicAdmin(connection(configuration.kafka), configuration).prepare(create=True)
