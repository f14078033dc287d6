"""Metrics in the format that is asked for."""

import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streams.domain.commits import Commit
from streams.observability.metrics import Metrics
from tests.support.deliveries import webhook_to
from tests.support.partitions import STATUS_GROUPS, counts, holder

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN_METRICS_0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="


def page(accept: str) -> tuple[str, str]:
    held = holder()
    held.add("c", 1_795_428_000, counts({"SUCCESS": 1}))
    metrics = Metrics("1")
    metrics.expect(["failure-spike"], [webhook_to("https://a.example")])
    metrics.http.expect([("GET", "/v1/rules")], {"grafana": 1_795_428_000.0})
    metrics.http.answered("GET", "/v1/rules", 200, 0.01)
    metrics.rebalanced()
    metrics.committed(Commit(0, seconds=0.2), STATUS_GROUPS)
    metrics.attempted(webhook_to("https://a.example"), 'with "quotes"\n')
    body, content_type = metrics.page(held.here, accept)
    return body.decode(), content_type


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain; version=1.0.0", TEXT_1 + "underscores"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT_1 + "allow-utf-8"),
        ("text/plain;version=1.0.0;escaping=nonsense", TEXT_1 + "underscores"),
        ("application/openmetrics-text", OPEN_METRICS + "underscores"),
        ('Application/OpenMetrics-Text; Version="0.0.1"', OPEN_METRICS_0),
        (PROMETHEUS_2, OPEN_METRICS + "underscores"),
        (PROMETHEUS_3, OPEN_METRICS + "allow-utf-8"),
        ("application/openmetrics-text;q=0.1,text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;q=0,*/*;q=0.1", TEXT),
        # Versions that there are not, and what is no Accept at all.
        ("application/openmetrics-text;version=9.9.9", TEXT),
        ("application/openmetrics-text;version=x", TEXT),
        (
            "application/openmetrics-text;version=9.9.9,text/plain;version=1.0.0",
            TEXT_1 + "underscores",
        ),
        ("application/openmetrics-text;version=1.0.0;q=2", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=nan", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", TEXT),
        ("text/html", TEXT),
        (",;=,\udcff;q=\u0661", TEXT),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, content_type: str) -> None:
    body, said = page(accept)
    assert said == content_type
    assert body.endswith("# EOF\n") is said.startswith("application/openmetrics-text")


def test_openmetrics_can_be_read() -> None:
    body, _ = page(PROMETHEUS_3)
    families = text_string_to_metric_families(body)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {"campaign_streams_rebalances", "campaign_streams_flush_seconds"} <= names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say() -> None:
    body, _ = page("")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
