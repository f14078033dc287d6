"""Brokers for the tests, and a closing line about the tests that were left out."""

import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, settings

from streams.demo.embedded_broker import EmbeddedBroker
from tests.support import kafka_jars
from tests.support.brokers import KafkaBroker, RunningBroker

# Hypothesis' time limits measure the machine, which may be busy with other things.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

LEFT_OUT = pytest.StashKey[Counter[str]]()
STARTED = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A real Apache Kafka for the whole session: leave it running (see `own_kafka`)."""
    _need_kafka()
    with KafkaBroker() as broker:
        request.config.stash[STARTED] = (
            f"Apache Kafka {broker.version} started in {broker.start_seconds:.1f} s"
        )
        yield broker


@pytest.fixture
def own_kafka() -> Iterator[KafkaBroker]:
    """A real Apache Kafka for one test, which may stop, kill, pause and restart it."""
    _need_kafka()
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[str]:
    """`host:port` of the embedded broker, for the whole session."""
    with EmbeddedBroker(port=0) as broker:
        yield broker.address


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> RunningBroker:
    """The test runs twice: on the embedded broker, and on a real Kafka where that is selected."""
    if request.param == "embedded":
        return RunningBroker("embedded", request.getfixturevalue("embedded_broker"))
    kafka: KafkaBroker = request.getfixturevalue("kafka")
    return RunningBroker("kafka", kafka.address)


@pytest.fixture
def unique() -> str:
    """A prefix for the topics and groups of one test: brokers are shared."""
    return f"t-{uuid.uuid4().hex[:8]}"


def _need_kafka() -> None:
    missing = kafka_jars.why_unavailable()
    if missing is None:
        return
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(f"REQUIRE_KAFKA=1, but {missing}")
    pytest.skip(f"needs a real Kafka: {missing}")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore Ctrl-C, and what the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[LEFT_OUT] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for marker in ("long", "kafka"):
            if item.get_closest_marker(marker):
                item.config.stash[LEFT_OUT][marker] += 1
                break


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if STARTED in config.stash:
        terminalreporter.write_line(config.stash[STARTED])
    needs = {
        "kafka": f"on a real Apache Kafka (needs Java {kafka_jars.OLDEST_JAVA} and Maven)",
        "long": "that take minutes",
    }
    for marker, count in config.stash[LEFT_OUT].items():
        terminalreporter.write_line(f"left out: {count} tests {needs[marker]}: make test-{marker}")
