"""The one place that puts the parts together: a long-running worker."""

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError

from streams.api.context import KnownNames
from streams.api.listening import Listener, listen
from streams.api.routes import ROUTES
from streams.api.server import ApiServer
from streams.api.tls import ServerCertificate
from streams.cancelling import cancel
from streams.configuration.http import HttpSettings
from streams.configuration.models import Configuration
from streams.configuration.translation import ingest_settings_of, partition_settings_of
from streams.domain.campaigns import Campaigns
from streams.domain.circuit import CircuitPolicy
from streams.engine.app import build_app
from streams.engine.cluster.client import check_broker, connection
from streams.engine.cluster.lag import watch_lag
from streams.engine.cluster.message_limits import MessageLimits
from streams.engine.cluster.rights import check_rights
from streams.engine.cluster.surroundings import Surroundings, announced
from streams.engine.cluster.topics import TopicAdmin
from streams.engine.consume.group import GroupConsumer
from streams.engine.dead_letters.newest import DeadLetterTopicEnd
from streams.engine.global_state.groups import Groups
from streams.engine.global_state.names import Names
from streams.engine.global_state.silences import Silences
from streams.engine.global_state.table import GlobalTable
from streams.engine.health import Health
from streams.engine.produce.broker_clock import BrokerClock
from streams.engine.tasks.assignor import TaskAssignor
from streams.engine.tasks.context import TaskContext, Topics
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.logs import LogFinder
from streams.engine.tasks.manager import TaskManager
from streams.engine.tasks.restore import TaskRestorer
from streams.engine.tasks.writers import TaskWriters
from streams.observability.metrics import Metrics
from streams.observability.process import watch_event_loop
from streams.observability.state_gauges import WorkerState
from streams.receivers.pagerduty import PagerDutyReceiver
from streams.webhooks.client import WebhookClient
from streams.webhooks.dispatcher import Dispatcher, Timing
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from streams.webhooks.proxy import Proxy
from streams.webhooks.resender import Resender

_log = structlog.get_logger(__name__)

STOP_WITHIN = 8.0
"""Seconds for an orderly end; what is left then is left to the broker."""
WEBHOOKS_STOP_WITHIN = 2.0
"""Seconds of these for webhooks under way."""


class Worker:
    """Counts, alerts, delivers and answers, from `start` to `stop`.

    All parts are put together here, each from those before it. What a part tells others goes
    through `TaskEvents`, to which these subscribe when they are made.

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
        kafka, topics = configuration.kafka, configuration.topics
        client, tasks = connection(kafka), counts[topics.changelog]
        version = importlib.metadata.version("campaign-streams")
        self.configuration = configuration
        self._listener = listener
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        metrics, events = Metrics(version), TaskEvents()
        metrics.expect((rule.name for rule in configuration.rules), configuration.receivers)
        metrics.http.expect(
            ((route.method, route.path) for route in ROUTES), _expiries(configuration.http)
        )
        consumer = GroupConsumer(metrics.fetched)
        context = _context(configuration, counts, limits, listener, metrics, events, clock)
        self._logs = LogFinder(client, context.topics, None if context.repartitions else tasks)
        self._assignor = TaskAssignor(
            tasks, topics.source, topics.repartition if context.repartitions else None
        )
        restorer = TaskRestorer(
            context,
            client,
            self._logs,
            kafka.group_id,
            TaskWriters(kafka, client, context, tasks, consumer).of,
            exactly_once=kafka.guarantee == "exactly-once",
            progress=events.restored,
        )
        self._tasks = TaskManager(
            self._assignor,
            restorer,
            consumer,
            events,
            interval=configuration.flush.interval,
            suspend_timeout=kafka.session_timeout / 2,
            rebalanced=metrics.rebalanced,
            crashed=partial(_fail, self._crash),
            task_lost=metrics.task_lost,
        )
        self._silences = Silences(
            client,
            topics.silences,
            counts[topics.silences],
            context.settings.silences,
            configuration.silences.longest,
            context.now,
        )
        self._groups = Groups(
            client, topics.groups, counts[topics.groups], context.settings.group_view
        )
        self._names = [
            Names(client, topic, counts[topic], book, partial(metrics.name_skipped, topic))
            for topic, book in (
                (topics.campaign_names, context.settings.names.campaigns),
                (topics.app_names, context.settings.names.apps),
            )
        ]
        self._app = build_app(configuration, client, self._assignor, self._tasks, consumer)
        self._surroundings = Surroundings(
            client, configuration, range(tasks), waiting=self._tasks.waiting_for
        )
        self.health = Health(
            self._tasks,
            self._surroundings,
            context.clock,
            join_within=3 * kafka.session_timeout,
            has_crashed=partial(_has_crashed, self._crash, self._app),
            out_of_date=partial(_out_of_date, self._silences, self._groups, *self._names),
        )
        certificate = ServerCertificate.of(configuration.http.tls, metrics.http.certificate_expires)
        self.api = ApiServer(
            configuration.http,
            listener,
            self._tasks,
            context.settings,
            self.health,
            silences=self._silences,
            names=KnownNames(*self._names),
            groups_are_read=lambda: self._groups.is_read,
            dead_letters=DeadLetterTopicEnd(
                client,
                topics.dead_letter,
                kafka.sasl.username,
                committed=kafka.guarantee == "exactly-once",
            ),
            metrics=lambda accept: metrics.page(self._tasks.ready(), accept),
            located=context.repartitions,
            now=context.now,
            pagerduty={
                each.name: signatures
                for each in configuration.receivers
                if isinstance(each, PagerDutyReceiver) and (signatures := each.signatures)
            },
            certificate=certificate,
            answered=metrics.http.answered,
            cost=metrics.http.cost,
        )
        metrics.state.follow(
            WorkerState(
                self.health.ready,
                self.health.live,
                self._tasks.states,
                self._silences.book.silences,
                context.now,
            )
        )
        sender = _webhook_client(configuration, metrics, version)
        receivers = configuration.receivers
        self._dispatcher = Dispatcher(
            self._tasks, sender, receivers, _timing(configuration), metrics
        )
        self._resender = Resender(
            self._tasks,
            sender,
            receivers,
            self._dispatcher,
            metrics,
            partial(consumer.membership.is_confirmed, kafka.session_timeout / 2),
        )
        events.on_commit(partial(metrics.committed, groups=context.settings.groups))
        events.on_commit(self._dispatcher.on_commit)
        events.on_commit(self.api.on_commit)
        events.on_change(self._dispatcher.wake)
        events.on_restored(metrics.recovered)
        self._beside: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            partial(watch_event_loop, metrics.loop_delayed),
            self._silences.follow,
            self._silences.remove_old,
            self._groups.follow,
            *(each.follow for each in self._names),
            self._surroundings.watch,
            partial(watch_lag, client, kafka.group_id, self._tasks.committed, metrics.lag),
        )
        if certificate is not None:
            self._beside = (*self._beside, certificate.follow)
        self._running_beside: list[asyncio.Task[None]] = []

    # Its life

    async def start(self) -> None:
        """Answer over HTTP, read the silences, then join the group."""
        await self.api.start()
        self._assignor.url = self._listener.url
        await self._dispatcher.start()
        await self._resender.start()
        self._log_address()
        self._running_beside = [asyncio.create_task(each()) for each in self._beside]
        async with announced(f"topic {self.configuration.topics.silences} to be read"):
            await self._silences.read()
        async with announced(f"topic {self.configuration.topics.groups} to be read"):
            await self._groups.read()
        for names in self._names:
            async with announced(f"topic {names.topic} to be read"):
                await names.read()
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
        """Turn unready, commit all tasks for handover, leave the group, end."""
        self.health.stopping()
        await asyncio.gather(
            self._resender.stop(WEBHOOKS_STOP_WITHIN), self._dispatcher.stop(WEBHOOKS_STOP_WITHIN)
        )
        await self._tasks.stop()
        await self._logs.close()
        for running in self._running_beside:
            await cancel(running)
        await self._app.stop()
        await self.api.stop()


def _out_of_date(*tables: GlobalTable) -> list[str]:
    """Return why what all workers know may be out of date here."""
    return [why for table in tables if (why := table.out_of_date) is not None]


def _context(  # noqa: PLR0913, PLR0917 - what it joins
    configuration: Configuration,
    counts: Mapping[str, int],
    limits: MessageLimits,
    listener: Listener,
    metrics: Metrics,
    events: TaskEvents,
    known: BrokerClock | None,
) -> TaskContext:
    topics, repartitions = configuration.topics, not configuration.source.keyed
    clock = known or BrokerClock(time.time, metrics.clock_offset)
    return TaskContext(
        topics=Topics.of(topics, counts),
        repartitions=repartitions,
        ingest_settings=ingest_settings_of(configuration),
        settings=replace(
            partition_settings_of(configuration, listener.url), lanes=counts[topics.changelog]
        ),
        now=clock.now,
        clock=clock,
        instruments=metrics,
        events=events,
        campaigns=Campaigns(counts[topics.changelog] if repartitions else 1),
        limits=limits,
    )


def _expiries(http: HttpSettings) -> dict[str, float]:
    """Return when tokens expire (s, UTC), by their names."""
    return {
        token.name: token.expires_at.timestamp()
        for token in http.tokens
        if token.expires_at is not None
    }


def _webhook_client(configuration: Configuration, metrics: Metrics, version: str) -> WebhookClient:
    delivery = configuration.delivery
    secret = delivery.proxy_credentials
    credentials = None if secret is None else secret.get_secret_value()
    return WebhookClient(
        Guard(delivery.allow_networks),
        allow_http=delivery.allow_http,
        user_agent=f"campaign-streams/{version}",
        hooks=Hooks(template_failed=metrics.template_failed),
        proxy=Proxy.of(delivery.proxy, credentials) if delivery.proxy is not None else None,
        direct=delivery.no_proxy,
    )


def _timing(configuration: Configuration) -> Timing:
    delivery, circuit = configuration.delivery, configuration.delivery.circuit
    return Timing(
        delivery.retry_schedule,
        circuit=CircuitPolicy(circuit.failures, circuit.wait, circuit.longest_wait),
        disable_after=delivery.disable_after,
    )


def _fail(crash: "asyncio.Future[None]", error: BaseException) -> None:
    if not crash.done():
        crash.set_exception(error)


def _has_crashed(crash: "asyncio.Future[None]", app: faust.App) -> bool:
    return crash.done() or app.crash_reason is not None


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
            _log.warning("shutdown timed out", seconds=STOP_WITHIN)
