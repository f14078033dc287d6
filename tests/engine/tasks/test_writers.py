"""Which writer a task gets."""

import asyncio
from typing import Any

import pytest

from streams.configuration.kafka import KafkaSettings
from streams.engine.consume.group import GroupConsumer
from streams.engine.produce.writer import NonTransactionalWriter, TransactionalWriter
from streams.engine.tasks.writers import TaskWriters
from tests.support.tasks import TaskHarness


def writers(**settings: Any) -> TaskWriters:
    kafka = KafkaSettings(bootstrap_servers=("127.0.0.1:1",), **settings)
    connection = {"bootstrap_servers": "127.0.0.1:1"}
    return TaskWriters(kafka, connection, TaskHarness().context, 2, GroupConsumer())


async def test_each_opening_of_a_task_gets_a_writer_that_remembers_what_hung() -> None:
    made = writers(group_id="g")
    first, again, other = made.of(1), made.of(1), made.of(0)
    assert first is not again
    for each in (first, again, other):
        assert isinstance(each, TransactionalWriter)
    hanging = [vars(each)["_hanging"] for each in (first, again, other)]
    assert hanging[0] is hanging[1]
    assert hanging[0].transactional_id != hanging[2].transactional_id
    await asyncio.gather(*(each.close() for each in (first, again, other)))


@pytest.mark.parametrize("task", [0, 1])
async def test_without_transactions_tasks_write_one_at_a_time(task: int) -> None:
    made = writers(guarantee="at-least-once")
    writer, other = made.of(task), made.of(1 - task)
    assert isinstance(writer, NonTransactionalWriter)
    assert vars(writer)["_turn"] is vars(other)["_turn"]
    await asyncio.gather(writer.close(), other.close())
