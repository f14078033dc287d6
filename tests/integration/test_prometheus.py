"""A real Prometheus scrapes a real worker, over TLS and with a token."""

import ssl
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import SOURCES, Traffic, going_on
from tests.support.brokers import RunningBroker
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK
from tests.support.real_prometheus import PROGRAM, RealPrometheus
from tests.support.waiting import until
from tests.support.workers import settings_for

TOKEN = "scrapes"
RECEIVER = {"name": "ops", "url": "https://alerts.example/", "secrets": ["whsec_" + "A" * 32]}
THERE = (
    'campaign_streams_events_total{kind="send",outcome="counted"} > 0',
    "campaign_streams_consumer_lag_records",
    "campaign_streams_source_event_time_seconds > 1.6e9",
    'campaign_streams_tasks{state="running"} == 4',
    'campaign_streams_commits_total{outcome="committed"} > 0',
    'campaign_streams_fetches_total{outcome="answered"} > 0',
    "campaign_streams_fetched_bytes_total > 0",
    "campaign_streams_event_loop_delay_seconds_count > 0",
    'campaign_streams_http_requests_total{route="/metrics",status="200"} > 0',
    'campaign_streams_http_request_seconds_bucket{route="/v1/campaigns"} == 0',
    "campaign_streams_http_certificate_expiry_timestamp_seconds > 4e9",
    'campaign_streams_webhook_attempts_total{receiver="ops",result="delivered"} == 0',
    'campaign_streams_oldest_pending_delivery_age_seconds{receiver="ops"} == 0',
    "campaign_streams_ready == 1",
    "campaign_streams_live == 1",
    "process_resident_memory_bytes > 0",
    "process_open_fds > 0",
)


@pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed")
@pytest.mark.embedded
async def test_a_real_prometheus_scrapes_a_worker(
    embedded_broker: str, unique: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    authority = Authority()
    certificate, key = authority.issue().write(tmp_path)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authority.pem)
    settings = settings_for(
        RunningBroker("embedded", embedded_broker),
        unique,
        http={
            "host": LOOPBACK,
            "anonymous": "never",
            "tokens": [{"name": "prometheus", "sha256": sha256(TOKEN.encode()).hexdigest()}],
            "tls": {"certificate_file": str(certificate), "key_file": str(key)},
        },
        receivers=[RECEIVER],
    )
    worker = new_worker(settings)
    worker.tls = ssl.create_default_context(cadata=authority.pem.decode())
    await worker.ready()
    scrape = {
        "scheme": "https",
        "tls_config": {"ca_file": str(trusted)},
        "authorization": {"credentials": TOKEN},
    }
    async with (
        RealPrometheus(tmp_path, worker.port, scrape) as prometheus,
        going_on(embedded_broker, settings["topics"]["source"], Traffic("a/b 100%")),
    ):
        for expression in (*THERE, 'up{job="campaign-streams"} == 1'):

            async def found(expression: str = expression) -> bool:
                return bool(await prometheus.query(expression))

            await until(found)
        partitions = await prometheus.query("campaign_streams_source_event_time_seconds")
        assert {labels["partition"] for labels, _ in partitions} == {
            str(number) for number in range(SOURCES)
        }
        (target,) = await prometheus.targets()
        assert (target["health"], target["lastError"]) == ("up", "")
        rules = await prometheus.rules()
        assert len(rules) > 10
        assert {(rule["health"], rule.get("lastError")) for rule in rules} == {("ok", None)}
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
        said = [line for line in prometheus.log.splitlines() if "caller=scrape.go" in line]
        assert said == []
