"""The one place that puts the parts together: a long-running worker."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version

import structlog
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.configuration.models import Configuration, RuleSettings
from streams.domain.counts import StatusGroups
from streams.domain.detectors import Threshold
from streams.domain.events import Intake
from streams.domain.partition import Watch
from streams.domain.rules import Rule
from streams.domain.windows import WindowPolicy
from streams.engine.app import build_app
from streams.engine.assignor import LaneAssignor
from streams.engine.client import check_broker, connection
from streams.engine.lag import watch_lag
from streams.engine.lane import Job, Topics
from streams.engine.lanes import Lanes
from streams.engine.opening import Opening
from streams.engine.topics import TopicAdmin
from streams.engine.writer import PlainWriter, TransactionalWriter, Writer
from streams.observability.metrics import Metrics

_log = structlog.get_logger(__name__)

STOP_WITHIN = 8.0
"""Seconds for an orderly end; what is left then is left to the broker."""


class Worker:
    """Counts, alerts, delivers and answers, from `start` to `stop`.

    Args:
        configuration: all of it.
        counts: the number of partitions of each topic.
    """

    def __init__(self, configuration: Configuration, counts: dict[str, int]) -> None:
        self._configuration = configuration
        self._connection = connection(configuration.kafka)
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.metrics = Metrics(version("campaign-streams"))
        self.watch = watch(configuration)
        admin = TopicAdmin(self._connection, configuration)
        job = self._job(counts, admin.lanes(counts))
        self._assignor = LaneAssignor(
            job.lanes, job.topics.source, job.topics.keyed, self._advertised()
        )
        self.lanes = self._lanes(job)
        self._app = build_app(configuration, self._connection, self._assignor, self.lanes)
        self._tasks: list[asyncio.Task[None]] = []

    def _job(self, counts: dict[str, int], lanes: int) -> Job:
        topics, source = self._configuration.topics, self._configuration.source
        return Job(
            topics=Topics(
                source=topics.source,
                keyed=None if source.keyed else topics.keyed,
                state=topics.state,
                alerts=topics.alerts,
                dead_letter=topics.dead_letter,
                alerts_partitions=counts[topics.alerts],
                dead_letter_partitions=counts[topics.dead_letter],
            ),
            lanes=lanes,
            intake=Intake(
                self.watch.windows, source.max_record_bytes, int(source.max_future_skew * 1000)
            ),
            watch=self.watch,
            state_interval=self._configuration.flush.state_interval,
            now=time.time,
            instruments=self.metrics,
        )

    def _lanes(self, job: Job) -> Lanes:
        kafka = self._configuration.kafka
        opening = Opening(
            job,
            self._connection,
            kafka.group_id,
            self._new_writer,
            committed=kafka.guarantee == "exactly-once",
            progress=self.metrics.recovered,
        )
        return Lanes(
            self._assignor,
            opening,
            self._configuration.flush.interval,
            park_timeout=kafka.session_timeout / 2,
            flushed=self._flushed,
            crashed=self._crashed,
        )

    def _new_writer(self, lane: int) -> Writer:
        kafka = self._configuration.kafka
        if kafka.guarantee == "exactly-once":
            transactional_id = f"{kafka.group_id}-lane-{lane}"
            return TransactionalWriter(
                self._connection, transactional_id, kafka.transaction_timeout, kafka.group_id
            )
        return PlainWriter(self._connection, self._commit)

    async def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self.lanes.consumer is not None:
            await self.lanes.consumer.commit_group_offsets(offsets)

    def _advertised(self) -> str | None:
        return self._configuration.http.advertised_url

    def _flushed(self) -> None:
        pass

    def _crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    async def start(self) -> None:
        """Join the group and serve."""
        self._tasks.append(
            asyncio.create_task(watch_lag(self._connection, self.lanes.committed, self.metrics.lag))
        )
        await self._app.start()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop.

        Raises:
            Exception: whatever ended the work early.
        """
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(self._app.wait_until_stopped())
        try:
            await asyncio.wait(
                (stopping, failing, self._crash), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (stopping, failing):
                task.cancel()
        if self._crash.done():
            self._crash.result()
        if self._app.crash_reason is not None:
            raise self._app.crash_reason

    async def stop(self) -> None:
        """Write everything down, leave the group, end."""
        await self.lanes.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._app.stop()


@contextlib.asynccontextmanager
async def working(configuration: Configuration) -> AsyncIterator[Worker]:
    """Check that a worker can work, then lend one that does.

    Raises:
        UserError: if the brokers, a topic or the port are not as they must be.
    """
    await check_broker(configuration.kafka)
    admin = TopicAdmin(connection(configuration.kafka), configuration)
    counts = await admin.prepare(create=configuration.topics.create)
    worker = Worker(configuration, counts)
    try:
        await worker.start()
        yield worker
    finally:
        try:
            await asyncio.wait_for(worker.stop(), STOP_WITHIN)
        except TimeoutError:
            _log.warning("stopped without all farewells", seconds=STOP_WITHIN)


def watch(configuration: Configuration) -> Watch:
    """Translate what the configuration says is to be counted and watched for."""
    windows, statuses = configuration.windows, configuration.statuses
    groups = {name: getattr(statuses, name) for name in type(statuses).model_fields}
    http = configuration.http
    return Watch(
        windows=WindowPolicy(windows.size, windows.grace, windows.retention),
        groups=StatusGroups.of(groups),
        rules=tuple(_rule(rule, groups) for rule in configuration.rules),
        receivers=tuple(receiver.name for receiver in configuration.receivers),
        idle_timeout=windows.idle_timeout,
        base_url=http.advertised_url or f"http://{http.host}:{http.port}",
        new_id=lambda: str(uuid.uuid4()),
    )


def _rule(settings: RuleSettings, groups: dict[str, tuple[str, ...]]) -> Rule:
    statuses = settings.statuses or groups[settings.group or ""]
    detector = settings.detector
    return Rule(
        name=settings.name,
        statuses=frozenset(statuses),
        detector=Threshold(detector.level, detector.confidence),
        recovery_level=settings.recovery_level,
        min_attempts=settings.min_attempts,
        scope=settings.scope,
        campaigns=tuple(settings.match.campaigns),
        apps=tuple(settings.match.apps),
        for_=settings.for_,
        keep_firing_for=settings.keep_firing_for,
        no_data_after=settings.no_data_after,
        repeat_interval=settings.repeat_interval,
        severity=settings.severity,
        labels=dict(settings.labels),
        receivers=tuple(settings.receivers),
    )
