"""The one place that puts the parts together: a long-running worker."""

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.api.listening import Listener, listen
from streams.api.server import ApiServer
from streams.cancelling import cancel
from streams.configuration.models import Configuration
from streams.configuration.translation import ingest_settings_of, partition_settings_of
from streams.domain.campaigns import Campaigns
from streams.engine.app import build_app
from streams.engine.cluster.client import check_broker, connection
from streams.engine.cluster.lag import watch_lag
from streams.engine.cluster.message_limits import MessageLimits
from streams.engine.cluster.rights import check_rights, transactional_id
from streams.engine.cluster.surroundings import Surroundings, announced
from streams.engine.cluster.topics import TopicAdmin
from streams.engine.produce.broker_clock import BrokerClock
from streams.engine.produce.writer import NonTransactionalWriter, TransactionalWriter, Writer
from streams.engine.tasks.assignor import TaskAssignor
from streams.engine.tasks.context import TaskContext, Topics
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.logs import LogFinder
from streams.engine.tasks.manager import TaskManager
from streams.engine.tasks.restore import TaskRestorer
from streams.engine.transactions.hanging import HangingTransactions
from streams.observability.metrics import Metrics
from streams.webhooks.client import WebhookClient
from streams.webhooks.dispatcher import Dispatcher, Timing
from streams.webhooks.guard import Guard

_log = structlog.get_logger(__name__)

JOIN_WITHIN = 60.0
"""Seconds without any move in which a worker has to get its first share of the group's work."""
STUCK_AFTER = 300.0
"""Seconds without any move of a task, longer than all that a task waits for."""
STOP_WITHIN = 8.0
"""Seconds for an orderly end; what is left then is left to the broker."""
WEBHOOKS_STOP_WITHIN = 2.0
"""Seconds of these for webhooks under way."""


class Worker:
    """Counts, alerts, delivers and answers, from `start` to `stop`.

    Args:
        configuration: all of it.
        counts: the number of partitions of each topic.
        limits: how large the records may be that are written.
        listener: the sockets of the HTTP API.
        clock: the broker's time, where it is known beforehand.
    """

    def __init__(
        self,
        configuration: Configuration,
        counts: Mapping[str, int],
        limits: MessageLimits,
        listener: Listener,
        clock: BrokerClock | None = None,
    ) -> None:
        self.configuration = configuration
        self._listener = listener
        self._connection = connection(configuration.kafka)
        self._version = importlib.metadata.version("campaign-streams")
        self.metrics = Metrics(self._version)
        self.watch = partition_settings_of(configuration, listener.url)
        self._events = TaskEvents()
        self._writers_turn = asyncio.Lock()
        self._ends: dict[int, HangingTransactions] = {}
        self._clock = clock or BrokerClock(time.time, self.metrics.clock_offset)
        self._context = context = self._new_context(counts, limits)
        self._logs = LogFinder(
            self._connection,
            context.topics,
            None if context.repartitions else counts[context.topics.changelog],
        )
        self._assignor = TaskAssignor(
            counts[context.topics.changelog],
            context.topics.source,
            context.topics.repartition if context.repartitions else None,
        )
        self.tasks = self._new_tasks(context)
        self._app = build_app(configuration, self._connection, self._assignor, self.tasks)
        self.api = self._new_api()
        self._client = self._new_client()
        self._dispatcher = self._new_dispatcher()
        self._events.on_commit(partial(self.metrics.committed, groups=self.watch.groups))
        self._events.on_commit(self._dispatcher.on_commit)
        self._events.on_change(self._dispatcher.wake)
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lag: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        tasks = range(counts[context.topics.changelog])
        self._surroundings = Surroundings(
            self._connection, configuration, tasks, waiting=self._waiting
        )
        self._stopping = False

    # The parts

    def _new_context(self, counts: Mapping[str, int], limits: MessageLimits) -> TaskContext:
        topics = self.configuration.topics
        repartitions, tasks = not self.configuration.source.keyed, counts[topics.changelog]
        return TaskContext(
            topics=Topics.of(topics, counts),
            repartitions=repartitions,
            ingest_settings=ingest_settings_of(self.configuration),
            watch=self.watch,
            now=self._clock.now,
            clock=self._clock,
            instruments=self.metrics,
            events=self._events,
            campaigns=Campaigns(tasks if repartitions else 1),
            limits=limits,
        )

    def _new_tasks(self, context: TaskContext) -> TaskManager:
        kafka = self.configuration.kafka
        opening = TaskRestorer(
            context,
            self._connection,
            self._logs,
            kafka.group_id,
            self._new_writer,
            exactly_once=kafka.guarantee == "exactly-once",
            progress=self._recovered,
        )
        return TaskManager(
            self._assignor,
            opening,
            self.configuration.flush.interval,
            suspend_timeout=kafka.session_timeout / 2,
            events=self._events,
            rebalanced=self.metrics.rebalanced,
            crashed=self._crashed,
            lost=self.metrics.task_lost,
        )

    def _new_writer(self, task: int) -> Writer:
        kafka = self.configuration.kafka
        if kafka.guarantee == "exactly-once":
            return TransactionalWriter(
                self._connection, self._ends_of(task), kafka.transaction_timeout, self._clock
            )
        return NonTransactionalWriter(
            self._connection, self._commit, self._writers_turn, self._clock
        )

    def _ends_of(self, task: int) -> HangingTransactions:
        """Return the same one whenever the task is opened: it keeps in mind what it saw."""
        if task not in self._ends:
            group_id = self.configuration.kafka.group_id
            written = self._context.written_by(task, self.tasks.partitions())
            self._ends[task] = HangingTransactions(
                self._connection, transactional_id(group_id, task), group_id, written[0], written
            )
        return self._ends[task]

    def _new_api(self) -> ApiServer:
        return ApiServer(
            self.configuration.http,
            self._listener,
            self.tasks,
            self.watch,
            self,
            metrics=lambda accept: self.metrics.page(self.tasks.ready(), accept),
            located=not self.configuration.source.keyed,
            now=self._clock.now,
        )

    def _new_client(self) -> WebhookClient:
        delivery = self.configuration.delivery
        return WebhookClient(
            Guard(delivery.allow_networks),
            allow_http=delivery.allow_http,
            user_agent=f"campaign-streams/{self._version}",
        )

    def _new_dispatcher(self) -> Dispatcher:
        timing = Timing(self.configuration.delivery.retry_schedule)
        return Dispatcher(
            self.tasks, self._client, self.configuration.receivers, timing, self.metrics
        )

    # What the parts tell each other

    async def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self.tasks.consumer is not None:
            await self.tasks.consumer.commit_group_offsets(offsets)

    def _recovered(self, task: int, reached: int, end: int) -> None:
        self.tasks.moved(task)
        self.metrics.recovered(task, reached, end)

    def _crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether the worker does its work; if not, why, and otherwise what else is wrong."""
        if self._stopping:
            return False, ["stopping"]
        waiting = self._waiting()
        clock = self._clock.disagreement
        reasons = [*self._surroundings.hindrances, *waiting, *([clock] if clock else [])]
        return not waiting, reasons

    def _waiting(self) -> list[str]:
        """Return what is waited for; nothing when the worker does its work."""
        if not self.tasks.joined:
            return [f"waiting for the consumer group {self.configuration.kafka.group_id}"]
        return [*self.tasks.waiting(), *self.tasks.unreadable()]

    def live(self) -> bool:
        """Tell whether the worker makes progress; false means that it should be started anew.

        A worker that has never got a share of the group's work has nothing to lose by that. One
        that has waits while the brokers are away, and is stuck if nothing moves though they answer.
        """
        if self._crash.done() or self._app.crash_reason is not None:
            return False
        still = time.monotonic() - self.tasks.moved_at()
        if not self.tasks.joined:
            return still < max(JOIN_WITHIN, 3 * self.configuration.kafka.session_timeout)
        return still < STUCK_AFTER or not self._surroundings.broker_answers

    # Its life

    async def start(self) -> None:
        """Answer over HTTP, then join the group."""
        await self.api.start()
        self._assignor.url = self._listener.url
        await self._dispatcher.start()
        self._lag = asyncio.create_task(
            watch_lag(
                self._connection,
                self.configuration.kafka.group_id,
                self.tasks.committed,
                self.metrics.lag,
            )
        )
        self._log_address()
        self._watching = asyncio.create_task(self._surroundings.watch())
        await self._app.start()

    def _log_address(self) -> None:
        listener = self._listener
        _log.info("listening", host=listener.host, port=listener.port, url=listener.url)
        if listener.url is None:
            _log.warning(
                "no URL for others to follow: alerts have no links, and other workers cannot ask "
                "this one; set http.advertised_url",
                host=listener.host,
            )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop.

        Raises:
            Exception: whatever ended the work early.
        """
        stopping = asyncio.create_task(stop.wait())
        ending = asyncio.create_task(self._app.wait_until_stopped())
        await asyncio.wait((stopping, ending, self._crash), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        ending.cancel()
        if self._crash.done():
            self._crash.result()
        if self._app.crash_reason is not None:
            raise self._app.crash_reason

    async def stop(self) -> None:
        """Turn unready, write everything down, leave the group, end."""
        self._stopping = True
        await self._dispatcher.stop(WEBHOOKS_STOP_WITHIN)
        await self.tasks.stop()
        await self._logs.close()
        for running in (self._lag, self._watching):
            if running is not None:
                await cancel(running)
        await self._app.stop()
        await self.api.stop()


async def _check_rights(configuration: Configuration, tasks: Sequence[int]) -> None:
    kafka = configuration.kafka
    try:
        await check_rights(connection(kafka), configuration, tasks)
    except KafkaError as error:
        # Not every broker can be asked; and whatever is wrong with it, others will say.
        _log.info("rights on Kafka are not known", error=repr(error))


@contextlib.asynccontextmanager
async def working(
    configuration: Configuration, clock: BrokerClock | None = None
) -> AsyncIterator[Worker]:
    """Check that a worker can work, then lend one that does.

    Args:
        configuration: all of it.
        clock: the broker's time, where it is known: that of a broker on this machine.

    Raises:
        UserError: if the brokers, a topic or the port are not as they must be.
    """
    await check_broker(configuration.kafka)
    admin = TopicAdmin(connection(configuration.kafka), configuration)
    async with announced("Kafka to say what this client may do, and to make or list the topics"):
        await _check_rights(configuration, range(configuration.topics.partitions))
        counts = await admin.prepare(create=configuration.topics.create)
        # Of topics that were just made, and of all tasks.
        await _check_rights(configuration, range(counts[configuration.topics.changelog]))
    listener = await listen(configuration.http)
    worker = Worker(configuration, counts, admin.limits, listener, clock)
    try:
        await worker.start()
        yield worker
    finally:
        try:
            await asyncio.wait_for(worker.stop(), STOP_WITHIN)
        except TimeoutError:
            _log.warning("stopped without all farewells", seconds=STOP_WITHIN)
