"""The end of a real dead-letter topic, read as the worker reads it."""

import pytest

from streams.engine.cluster.client import connection
from streams.engine.dead_letters import newest as reading
from streams.engine.dead_letters.listing import Selection
from streams.engine.dead_letters.newest import DeadLetterTopicEnd
from streams.engine.dead_letters.replay import DeadLetterTopic
from streams.errors import UnavailableError
from tests.engine.dead_letters.test_listing import added, configuration, make_topics, put
from tests.support.brokers import RunningBroker


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tail(broker: RunningBroker, topics: str, clock: Clock) -> DeadLetterTopicEnd:
    settings = configuration(broker, topics)
    return DeadLetterTopicEnd(
        connection(settings.kafka),
        settings.topics.dead_letter,
        committed=settings.kafka.guarantee == "exactly-once",
        clock=clock,
    )


async def test_the_newest_are_found_and_kept_for_a_while(
    broker: RunningBroker, unique: str
) -> None:
    await make_topics(broker.address, unique)
    dead, clock = f"{unique}-dead", Clock()
    end = tail(broker, unique, clock)
    letter = added(topic=f"{unique}-events")
    await put(broker.address, dead, [(0, None, b"anna", letter)])
    (first,) = (await end.newest()).letters
    assert (first.reason, first.beginning, first.replayed) == ("not-json", "xxxx", False)
    letters = [
        (number % 2, None, b'{"name": "anna"}' * 100, letter)
        for number in range(2 * reading.MOST + 10)
    ]
    await put(broker.address, dead, letters)
    assert (await end.newest()).letters == (first,)
    clock.now += reading.KEPT
    found = (await end.newest()).letters
    assert len(found) == reading.MOST
    assert {each.reason for each in found} == {"not-json"}
    assert "anna" not in str(found)
    await DeadLetterTopic(configuration(broker, unique)).replay(Selection())
    clock.now += reading.KEPT
    assert any(each.replayed for each in (await end.newest()).letters)


async def test_a_topic_that_is_not_there_is_named_and_not_made(
    broker: RunningBroker, unique: str
) -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"there is no topic {unique}-dead"):
            await tail(broker, unique, Clock()).newest()


async def test_brokers_that_are_away_do_not_hold_up_who_asks(unique: str) -> None:
    away = tail(RunningBroker("kafka", "127.0.0.1:9"), unique, Clock())
    with pytest.raises(UnavailableError):
        await away.newest()
