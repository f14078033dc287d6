"""A link in an alert can be followed, or there is none and the start says why."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, going_on, settings_of
from tests.support.brokers import RunningBroker
from tests.support.http import request
from tests.support.receiver import Collector
from tests.support.workers import WorkerProcess

pytestmark = pytest.mark.embedded


async def first_alert(
    address: str, unique: str, new_worker: NewWorker, http: dict[str, Any]
) -> tuple[dict[str, Any], WorkerProcess]:
    """Let a campaign fail, and return what the first webhook tells."""
    broker = RunningBroker("embedded", address)
    traffic = Traffic("a/b")
    traffic.failing = 1.0
    async with Collector() as receiver, going_on(address, f"{unique}-events", traffic):
        settings = settings_of(broker, unique, receiver.url)
        worker = new_worker({**settings, "http": http})
        (arrival, *_) = await receiver.wait_for(1)
        data: dict[str, Any] = arrival.value["data"]
        if data["links"] is not None:
            for link in data["links"].values():
                url = urlsplit(link)
                answer = await request(url.port or 0, url.path, host=url.hostname or "")
                assert answer.status == 200, link
        return data, worker


async def test_a_link_in_an_alert_can_be_followed(
    embedded_broker: str, unique: str, new_worker: NewWorker
) -> None:
    chosen = {"host": "::1", "port": 0}
    data, worker = await first_alert(embedded_broker, unique, new_worker, chosen)
    netloc = urlsplit(data["links"]["alert"]).netloc
    assert netloc.startswith("[::1]:")
    assert netloc != "[::1]:0"
    assert "alerts have no links" not in worker.log


async def test_every_interface_is_no_address(
    embedded_broker: str, unique: str, new_worker: NewWorker
) -> None:
    every = {"host": "0.0.0.0", "port": 0, "anonymous": "always"}  # noqa: S104 - what it is about
    data, worker = await first_alert(embedded_broker, unique, new_worker, every)
    assert data["links"] is None
    (said,) = [line for line in worker.log.splitlines() if "alerts have no links" in line]
    assert "http.advertised_url" in said
