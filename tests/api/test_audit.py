"""Each change is in the log, with who did it; and each request in a metric, by its route."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from streams.api.audit import LONGEST_VALUE
from streams.api.server import UNKNOWN
from streams.configuration.http import HttpSettings
from streams.domain.transitions import rfc3339
from streams.errors import UnavailableError
from streams.observability.logs import Redactor
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_deliveries import owing
from tests.support.http import exchange
from tests.support.partitions import holder

TOKENS = [
    {"name": "ops", "sha256": sha256(b"o").hexdigest(), "scopes": ["read", "write"]},
    {"name": "grafana", "sha256": sha256(b"g").hexdigest()},
]
OPS, GRAFANA = ({"Authorization": f"Bearer {token}"} for token in "og")


def closed(**options: Any) -> HttpSettings:
    return HttpSettings.model_validate(
        {"port": 0, "tokens": TOKENS, "anonymous": "never", **options}
    )


async def audited(api: RunningApi, target: str, **options: Any) -> list[Mapping[str, Any]]:
    with capture_logs() as logs:
        await api.ask(target, **options)
    return [line for line in logs if line["event"] == "audit"]


async def test_who_did_what_to_what(start: StartApi) -> None:
    api = await start(owing("a", "b"), closed())
    alert = (await api.ask("/v1/deliveries?campaign_id=a", headers=OPS)).json["deliveries"][0]
    delivery_id = alert["delivery_id"]
    target = f"/v1/deliveries/{delivery_id}/replay"
    expected = {
        "event": "audit",
        "log_level": "info",
        "who": "ops",
        "caller": "token",
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/v1/deliveries/{delivery_id}/replay",
        "object": {"delivery_id": delivery_id},
        "outcome": "done",
        "status": 200,
    }
    assert await audited(api, target, method="POST", headers=OPS) == [expected]
    refused = {**expected, "outcome": "refused"}
    assert await audited(api, target, method="POST", headers=OPS) == [{**refused, "status": 409}]
    assert await audited(api, target, method="POST", headers=GRAFANA) == [
        {**refused, "who": "grafana", "status": 403}
    ]
    nobody = {**refused, "who": None, "caller": None, "status": 401}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert await audited(api, target, method="POST", headers=headers) == [nobody]
    # The log's own redaction leaves all of it.
    assert Redactor(())(None, "", dict(expected)) == expected


async def test_reading_is_no_change(start: StartApi) -> None:
    api = await start(holder(), closed())
    for target in ("/v1/silences", "/v1/nothing", "/metrics"):
        assert await audited(api, target, headers=OPS) == []


async def test_what_was_made_is_named(start: StartApi) -> None:
    api = await start(holder(), closed())
    wish = {
        "matchers": ["campaign_id=c"],
        "created_by": "anna",
        "comment": "x",
        "ends_at": rfc3339(NOW + 60),
    }
    body = orjson.dumps(wish)
    (line,) = await audited(api, "/v1/silences", method="POST", headers=OPS, body=body)
    (made,) = api.silences.book.silences()
    assert line["object"] == {
        "silence_id": made.silence.silence_id,
        "matchers": 'campaign_id="c"',
    }
    target = f"/v1/silences/{made.silence.silence_id}?ended_by=bob"
    (line,) = await audited(api, target, method="DELETE", headers=OPS)
    assert line["object"] == {"silence_id": made.silence.silence_id, "ended_by": "bob"}
    api.silences.fails = UnavailableError("the brokers are away")
    (line,) = await audited(api, "/v1/silences", method="POST", headers=OPS, body=body)
    assert (line["outcome"], line["status"]) == ("failed", 503)


async def test_how_many_were_replayed(start: StartApi) -> None:
    api = await start(owing("a", "b"))
    (line,) = await audited(api, "/v1/receivers/ops/replay?campaign_id=a", method="POST")
    assert (line["who"], line["caller"]) == (None, "local")
    assert line["object"] == {"name": "ops", "campaign_id": "a", "replayed": "1"}


async def test_names_from_outside_are_cut(start: StartApi) -> None:
    api = await start(holder())
    (line,) = await audited(api, f"/v1/deliveries/{'x' * 5000}/replay", method="POST")
    assert len(line["object"]["delivery_id"]) == LONGEST_VALUE


async def test_the_address_is_the_one_that_a_trusted_proxy_saw(start: StartApi) -> None:
    api = await start(holder(), closed(trusted_proxies=["127.0.0.1/32"]))
    headers = {**OPS, "X-Forwarded-For": "198.51.100.9, 192.0.2.1"}
    (line,) = await audited(api, "/v1/deliveries/x/replay", method="POST", headers=headers)
    assert line["address"] == "192.0.2.1"
    basic = {"Authorization": "Basic " + b64encode(b"anybody:o").decode()}
    (line,) = await audited(api, "/v1/deliveries/x/replay", method="POST", headers=basic)
    assert (line["who"], line["address"]) == ("ops", "127.0.0.1")


@pytest.mark.parametrize("secrets", [(), ("0" * 32,)])
async def test_the_worker_that_was_asked_first_writes_it(
    start: StartApi, secrets: tuple[str, ...]
) -> None:
    http = HttpSettings.model_validate({"port": 0, "cluster_secrets": secrets})
    one, other = await start(owing("a"), http), await start(holder(), http)
    other.holder.here = {}
    other.holder.others.update(dict.fromkeys(range(4), one.url))
    lines = await audited(other, "/v1/receivers/ops/replay?dry_run=true", method="POST")
    # Without a secret a worker cannot be told from another program on this machine.
    assert len(lines) == (1 if secrets else 2)


async def test_each_answer_is_counted_by_its_route(start: StartApi) -> None:
    api = await start(holder(), closed())
    for target, headers in (
        ("/v1/campaigns/a%2Fb", OPS),
        ("/v1/rules?x=1", OPS),
        ("/nothing/there", OPS),
        ("/v1/rules", {}),
        ("/livez", {}),
    ):
        await api.ask(target, headers=headers)
    assert api.answered == [
        ("GET", "/v1/campaigns/{campaign_id}", 404),
        ("GET", "/v1/rules", 400),
        ("GET", UNKNOWN, 404),
        ("GET", "/v1/rules", 401),
        ("GET", "/livez", 200),
    ]
    await exchange(api.port, b"nonsense\r\n\r\n")
    await api.ask("/v1/rules", method="PATCH", headers=OPS)
    assert api.answered[-2:] == [("", UNKNOWN, 400), ("PATCH", UNKNOWN, 405)]
