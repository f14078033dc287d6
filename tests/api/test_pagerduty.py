"""Webhooks of PagerDuty, as its documents have them, over a socket: signed, once, by any worker."""

from typing import Any

import orjson
import pytest

from streams.api import acknowledging
from streams.configuration.http import HttpSettings
from streams.domain import transitions
from streams.receivers.pagerduty_webhooks import MOST_SIGNATURES, Signatures
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_acknowledging import (
    AWAY,
    HERE,
    THERE,
    committing,
    failing,
    partition_of_alert,
)
from tests.api.test_actors import SECRETS, settings
from tests.support.http import HttpAnswer
from tests.support.kinds import pager, rendered
from tests.support.pagerduty import signed, webhook
from tests.support.partitions import MemoryHolder, holder

SECRET, OLD = "gE5bV9", "rotated"
PATH = "/v1/receivers/pager/pagerduty"
PAGERS = {"pager": Signatures([SECRET])}


def alert_of(held: MemoryHolder) -> str:
    return partition_of_alert(held).alerts.alerts()[0].alert_id


async def send(api: RunningApi, body: bytes, *secrets: str, path: str = PATH) -> HttpAnswer:
    headers = signed(body, *(secrets or (SECRET,)))
    return await api.ask(path, method="POST", headers=headers, body=body)


async def taken(api: RunningApi, body: bytes) -> Any:
    answer = await send(api, body)
    assert answer.status == 202, answer.body
    return answer.json


async def ignored(api: RunningApi, body: bytes) -> str:
    answer = await taken(api, body)
    assert (answer["result"], answer["by"]) == ("ignored", None)
    return str(answer["detail"])


async def test_who_acknowledges_there_has_acknowledged_here(start: StartApi) -> None:
    """Also where nobody may do anything without a token."""
    api = await start(failing(), settings(), pagerduty=PAGERS)
    (alert,) = partition_of_alert(api.holder).alerts.alerts()
    # The incident has the key with which the alert was told.
    data = partition_of_alert(api.holder).alerts.describe(alert)
    told = transitions.Transition("campaign.alert.firing", "2026-11-23T10:00:00Z", data)
    key = orjson.loads(rendered(pager(), told).body)["dedup_key"]
    async with committing(api.holder):
        answer = await taken(api, webhook(key))
    assert answer == {
        "result": "acknowledged",
        "detail": "",
        "alert_id": alert.alert_id,
        "by": "Tenex Engineer",
    }
    assert alert.acknowledged is not None
    assert alert.acknowledged.by == "Tenex Engineer"
    cause = alert.steps[-1].cause
    assert cause is not None
    assert (cause.actor, cause.reason, cause.name) == ("operator", "pagerduty", "Tenex Engineer")
    assert cause.detail == ("incident 2 of PagerDuty: https://acme.pagerduty.com/incidents/PGR0VU2")


async def test_once_however_often_it_comes(start: StartApi) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    alert_id = alert_of(api.holder)
    async with committing(api.holder):
        for by in ("Ana", "Ana", "Ben"):
            assert (await taken(api, webhook(alert_id, by=by)))["by"] == "Ana"
    assert partition_of_alert(api.holder).alerts.alerts()[0].sequence == 2


@pytest.mark.parametrize("secrets", [(OLD, SECRET), (SECRET, OLD)])
async def test_while_a_secret_is_rotated(start: StartApi, secrets: tuple[str, ...]) -> None:
    api = await start(failing(), pagerduty={"pager": Signatures([SECRET, "new"])})
    body = webhook("none")
    assert (await send(api, body, *secrets)).status == 202
    assert (await send(api, body, "new")).status == 202
    assert (await send(api, body, OLD)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "v1=",
        "v1=zz",
        "v1=\xff",
        "v1=" + "0" * 64,
        "v0=SIGNATURE",
        "SIGNATURE",
        ",".join(["v1=0"] * MOST_SIGNATURES) + ",v1=SIGNATURE",
    ],
)
async def test_wrong_signatures(start: StartApi, header: str | None) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    alert_id = alert_of(api.holder)
    body = webhook(alert_id)
    headers = signed(body, SECRET)
    right = headers.pop("X-PagerDuty-Signature").removeprefix("v1=")
    if header is not None:
        headers["X-PagerDuty-Signature"] = header.replace("SIGNATURE", right)
    async with committing(api.holder):
        detail = await api.refused(PATH, 401, method="POST", headers=headers, body=body)
    assert right not in detail
    assert partition_of_alert(api.holder).alerts.alerts()[0].acknowledged is None


async def test_a_signature_is_of_one_body_and_one_receiver(start: StartApi) -> None:
    api = await start(failing(), pagerduty={**PAGERS, "other": Signatures([OLD])})
    body = webhook(alert_of(api.holder))
    headers = signed(body, SECRET)
    changed = {"method": "POST", "headers": headers, "body": body + b" "}
    await api.refused(PATH, 401, **changed)
    other = PATH.replace("pager/", "other/")
    await api.refused(other, 401, method="POST", headers=headers, body=body)
    unknown = PATH.replace("pager/", "nobody/")
    await api.refused(unknown, 404, method="POST", headers=headers, body=body)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"event":{}}', b'{"event":{"event_type":7}}']
)
async def test_what_is_signed_and_no_webhook(start: StartApi, body: bytes) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    assert (await send(api, body)).status == 400


async def test_what_needs_nothing_is_taken_so_that_the_subscription_goes_on(
    start: StartApi,
) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    assert "no alert none" in await ignored(api, webhook("none"))
    assert "no alert ../x" in await ignored(api, webhook("../x"))
    assert "no incident_key" in await ignored(api, webhook(None))
    for event_type in ("incident.resolved", "incident.unacknowledged", "pagey.ping"):
        alert_id = alert_of(api.holder)
        assert event_type in await ignored(api, webhook(alert_id, event_type))
    note = webhook(None, "incident.annotated", data={"incident": {}, "content": 7})
    assert "incident.annotated" in await ignored(api, note)


async def test_an_alert_that_is_over(start: StartApi) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    alert_id = alert_of(api.holder)
    partition_of_alert(api.holder).evaluate(NOW + 10_000)
    assert "has ended" in await ignored(api, webhook(alert_id))


async def test_an_event_of_an_earlier_episode_is_of_no_use(start: StartApi) -> None:
    """Somebody who has seen it sends it again, once the alert has come back."""
    api = await start(failing(), pagerduty=PAGERS)
    alert_id = alert_of(api.holder)
    old = webhook(alert_id, occurred_at="2026-11-23T09:58:30.000Z")
    assert "fire again since" in await ignored(api, old)
    assert "fire again since" in await ignored(api, webhook(alert_id, occurred_at="yesterday"))
    async with committing(api.holder):
        # Clocks differ.
        new = webhook(alert_id, occurred_at="2026-11-23T09:59:30+00:00")
        assert (await taken(api, new))["result"] == "acknowledged"


async def test_any_worker_takes_it(start: StartApi) -> None:
    http = settings(cluster_secrets=SECRETS)
    one = await start(holder(numbers=HERE), http, pagerduty=PAGERS)
    other = await start(failing(AWAY, THERE), http)
    one.holder.others.update(dict.fromkeys(THERE, other.url))
    async with committing(other.holder):
        answer = await taken(one, webhook(alert_of(other.holder), by="Ana & Ben/ö?"))
    assert answer["by"] == "Ana & Ben/ö?"
    (alert,) = partition_of_alert(other.holder).alerts.alerts()
    cause = alert.steps[-1].cause
    assert cause is not None
    assert cause.reason == "pagerduty"


async def test_what_cannot_be_done_now_is_sent_again(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledging, "COMMITTED_WITHIN", 0.05)
    api = await start(failing(), pagerduty=PAGERS)
    assert (await send(api, webhook(alert_of(api.holder)))).status == 503
    away = await start(holder(numbers=HERE), pagerduty=PAGERS)
    assert (await send(away, webhook("elsewhere"))).status == 503


@pytest.mark.parametrize(
    ("by", "shown"),
    [(None, "PagerDuty"), ("", "PagerDuty"), ("a\n\x1b", "a\\n\\x1b"), ("x" * 5000, None)],
)
async def test_names_from_anybody(start: StartApi, by: str | None, shown: str | None) -> None:
    api = await start(failing(), pagerduty=PAGERS)
    async with committing(api.holder):
        answer = await taken(api, webhook(alert_of(api.holder), by=by))
    assert answer["by"] == shown or (shown is None and len(answer["by"]) == 100)


async def test_a_page_of_another_site_needs_the_signature_all_the_same(start: StartApi) -> None:
    api = await start(failing(), HttpSettings(port=0), pagerduty=PAGERS)
    headers = {"Origin": "https://evil.example", "Content-Type": "application/json"}
    await api.refused(PATH, 401, method="POST", headers=headers, body=webhook("none"))
