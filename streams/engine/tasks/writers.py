"""The writer of each task."""

import asyncio
from collections.abc import Mapping
from typing import Any

from streams.configuration.kafka import KafkaSettings
from streams.engine.cluster.rights import transactional_id
from streams.engine.consume.group import GroupConsumer
from streams.engine.produce.writer import NonTransactionalWriter, TransactionalWriter, Writer
from streams.engine.tasks.context import TaskContext
from streams.engine.transactions.hanging import HangingTransactions


class TaskWriters:
    """Makes a task's writer, each time the task is opened.

    Args:
        settings: of Kafka.
        connection: keyword arguments for aiokafka clients.
        context: what all tasks of the worker share.
        tasks: the number of tasks.
        consumer: commits offsets, for brokers without transactions.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connection: Mapping[str, Any],
        context: TaskContext,
        tasks: int,
        consumer: GroupConsumer,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._context = context
        self._tasks = tasks
        self._consumer = consumer
        self._hanging: dict[int, HangingTransactions] = {}
        self._one_at_a_time = asyncio.Lock()

    def of(self, task: int) -> Writer:
        """Return a new writer for a task."""
        clock = self._context.clock
        if self._settings.guarantee == "exactly-once":
            return TransactionalWriter(
                self._connection, self._hanging_of(task), self._settings.transaction_timeout, clock
            )
        return NonTransactionalWriter(
            self._connection, self._consumer.commit, self._one_at_a_time, clock
        )

    def _hanging_of(self, task: int) -> HangingTransactions:
        """Return the same one whenever the task is opened: it remembers what it found."""
        if task not in self._hanging:
            group_id = self._settings.group_id
            written = self._context.written_by(task, self._tasks)
            self._hanging[task] = HangingTransactions(
                self._connection, transactional_id(group_id, task), group_id, written[0], written
            )
        return self._hanging[task]
