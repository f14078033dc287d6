"""The one place that puts the parts together: a long-running worker."""

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import AsyncIterator, Mapping

import structlog
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.api.listening import Listener, listen
from streams.api.server import ApiServer
from streams.configuration.models import Configuration
from streams.configuration.translation import intake_of, watch_of
from streams.domain.campaigns import Campaigns
from streams.engine.app import build_app
from streams.engine.assignor import LaneAssignor
from streams.engine.broker_clock import BrokerClock
from streams.engine.client import check_broker, connection
from streams.engine.hanging import TransactionEnds
from streams.engine.job import Job, Topics
from streams.engine.lag import watch_lag
from streams.engine.lanes import Lanes
from streams.engine.limits import MessageLimits
from streams.engine.logs import LogFinder
from streams.engine.opening import Opening
from streams.engine.topics import TopicAdmin
from streams.engine.writer import PlainWriter, TransactionalWriter, Writer
from streams.observability.metrics import Metrics
from streams.webhooks.client import Receiver, WebhookClient
from streams.webhooks.dispatcher import Dispatcher, Timing
from streams.webhooks.guard import Guard

_log = structlog.get_logger(__name__)

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
    """

    def __init__(
        self,
        configuration: Configuration,
        counts: Mapping[str, int],
        limits: MessageLimits,
        listener: Listener,
    ) -> None:
        self.configuration = configuration
        self._listener = listener
        self._connection = connection(configuration.kafka)
        self._version = importlib.metadata.version("campaign-streams")
        self.metrics = Metrics(self._version)
        self.watch = watch_of(configuration, listener.url)
        self._writers_turn = asyncio.Lock()
        self._ends: dict[int, TransactionEnds] = {}
        self._clock = BrokerClock(time.time, self.metrics.clock_offset)
        self._job = job = self._new_job(counts, limits)
        self._logs = LogFinder(
            self._connection, job.topics, None if job.hop else counts[job.topics.state]
        )
        self._assignor = LaneAssignor(
            counts[job.topics.state], job.topics.source, job.topics.keyed if job.hop else None
        )
        self.lanes = self._new_lanes(job)
        self._app = build_app(configuration, self._connection, self._assignor, self.lanes)
        self.api = self._new_api()
        self._client = self._new_client()
        self._dispatcher = self._new_dispatcher()
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lag: asyncio.Task[None] | None = None
        self._stopping = False

    # The parts

    def _new_job(self, counts: Mapping[str, int], limits: MessageLimits) -> Job:
        topics = self.configuration.topics
        hop, lanes = not self.configuration.source.keyed, counts[topics.state]
        return Job(
            topics=Topics(
                source=topics.source,
                keyed=topics.keyed,
                state=topics.state,
                alerts=topics.alerts,
                dead_letter=topics.dead_letter,
                alerts_partitions=counts[topics.alerts],
                dead_letter_partitions=counts[topics.dead_letter],
            ),
            hop=hop,
            intake=intake_of(self.configuration),
            watch=self.watch,
            now=self._clock.now,
            clock=self._clock,
            instruments=self.metrics,
            campaigns=Campaigns(lanes if hop else 1),
            limits=limits,
        )

    def _new_lanes(self, job: Job) -> Lanes:
        kafka = self.configuration.kafka
        opening = Opening(
            job,
            self._connection,
            self._logs,
            kafka.group_id,
            self._new_writer,
            exactly_once=kafka.guarantee == "exactly-once",
            progress=self.metrics.recovered,
        )
        return Lanes(
            self._assignor,
            opening,
            self.configuration.flush.interval,
            park_timeout=kafka.session_timeout / 2,
            flushed=self._flushed,
            rebalanced=self.metrics.rebalanced,
            crashed=self._crashed,
            lost=self.metrics.lane_lost,
        )

    def _new_writer(self, lane: int) -> Writer:
        kafka = self.configuration.kafka
        if kafka.guarantee == "exactly-once":
            return TransactionalWriter(
                self._connection, self._ends_of(lane), kafka.transaction_timeout, self._clock
            )
        return PlainWriter(self._connection, self._commit, self._writers_turn, self._clock)

    def _ends_of(self, lane: int) -> TransactionEnds:
        """Return the same one whenever the lane is opened: it keeps in mind what it saw."""
        if lane not in self._ends:
            group_id = self.configuration.kafka.group_id
            written = self._job.written_by(lane, self.lanes.partitions())
            self._ends[lane] = TransactionEnds(
                self._connection, f"{group_id}-lane-{lane}", group_id, written[0], written
            )
        return self._ends[lane]

    def _new_api(self) -> ApiServer:
        return ApiServer(
            self.configuration.http,
            self._listener,
            self.lanes,
            self.watch,
            self,
            metrics=lambda accept: self.metrics.page(self.lanes.ready(), accept),
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
        receivers = [
            Receiver(
                settings.name,
                settings.url,
                tuple(secret.get_secret_value() for secret in settings.secrets),
                settings.timeout,
                kind=settings.kind,
            )
            for settings in self.configuration.receivers
        ]
        timing = Timing(self.configuration.delivery.retry_schedule)
        return Dispatcher(self.lanes, self._client, receivers, timing, self.metrics)

    # What the parts tell each other

    async def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self.lanes.consumer is not None:
            await self.lanes.consumer.commit_group_offsets(offsets)

    def _flushed(self) -> None:
        self._dispatcher.wake()

    def _crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether the worker does its work; if not, why, and otherwise what else is wrong."""
        if self._stopping:
            return False, ["stopping"]
        if not self.lanes.joined:
            return False, ["waiting for the consumer group"]
        waiting = [*self.lanes.waiting(), *self.lanes.unreadable()]
        clock = self._clock.disagreement
        return not waiting, [*waiting, clock] if clock else waiting

    def live(self) -> bool:
        """Tell whether the worker makes progress; false means that it should be started anew."""
        return not self._crash.done() and self._app.crash_reason is None

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
                self.lanes.committed,
                self.metrics.lag,
            )
        )
        self._log_address()
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
        await self.lanes.stop()
        await self._logs.close()
        if self._lag is not None:
            self._lag.cancel()
            await asyncio.gather(self._lag, return_exceptions=True)
        await self._app.stop()
        await self.api.stop()


@contextlib.asynccontextmanager
async def working(configuration: Configuration) -> AsyncIterator[Worker]:
    """Check that a worker can work, then lend one that does.

    Raises:
        UserError: if the brokers, a topic or the port are not as they must be.
    """
    await check_broker(configuration.kafka)
    admin = TopicAdmin(connection(configuration.kafka), configuration)
    counts = await admin.prepare(create=configuration.topics.create)
    listener = await listen(configuration.http)
    worker = Worker(configuration, counts, admin.limits, listener)
    try:
        await worker.start()
        yield worker
    finally:
        try:
            await asyncio.wait_for(worker.stop(), STOP_WITHIN)
        except TimeoutError:
            _log.warning("stopped without all farewells", seconds=STOP_WITHIN)
