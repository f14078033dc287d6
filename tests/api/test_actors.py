"""Who has asked for a write: whom the request names, and the name of the token beside that."""

from hashlib import sha256
from typing import Any

import orjson

from streams.api.asking import Asker
from streams.configuration.http import HttpSettings
from tests.api.conftest import RunningApi, StartApi
from tests.api.test_acknowledging import (
    AWAY,
    HERE,
    THERE,
    committing,
    failing,
    partition_of_alert,
)
from tests.support.deliveries import delivery_of
from tests.support.partitions import MemoryHolder, holder

TOKEN = {"Authorization": "Bearer secret"}
SECRETS = ["0123456789abcdef" * 4]


def settings(**changes: Any) -> HttpSettings:
    token = {"name": "crm", "sha256": sha256(b"secret").hexdigest(), "scopes": ["read", "write"]}
    return HttpSettings.model_validate(
        {"port": 0, "anonymous": "never", "tokens": [token], **changes}
    )


async def write(api: RunningApi, target: str, **options: Any) -> Any:
    answer = await api.ask(target, **{"method": "POST", "headers": TOKEN, **options})
    assert answer.status in {200, 201}, answer.body
    return answer.json


async def cause_of(api: RunningApi, alert_id: str) -> Any:
    answer = await api.ask(f"/v1/alerts/{alert_id}", headers=TOKEN)
    return answer.json["alert"]["transitions"][-1]["cause"]


def alert_of(held: MemoryHolder) -> str:
    return partition_of_alert(held).alerts.alerts()[0].alert_id


async def test_an_acknowledgement(start: StartApi) -> None:
    for query, by in (("", "crm"), ("?by=ana", "ana")):
        api = await start(failing(), settings())
        alert_id = alert_of(api.holder)
        async with committing(api.holder):
            answer = await write(api, f"/v1/alerts/{alert_id}/acknowledge{query}")
        assert answer["alert"]["acknowledged"]["by"] == by
        cause = await cause_of(api, alert_id)
        assert (cause["name"], cause["token"], cause["reason"]) == (by, "crm", "acknowledged")


async def test_without_a_token_somebody_has_to_be_named(start: StartApi) -> None:
    api = await start(failing())
    alert_id = alert_of(api.holder)
    target = f"/v1/alerts/{alert_id}/acknowledge"
    assert "by is missing" in await api.refused(target, 400, method="POST")
    async with committing(api.holder):
        await write(api, f"{target}?by=ana", headers={})
    answer = await api.get(f"/v1/alerts/{alert_id}")
    assert "token" not in answer["alert"]["transitions"][-1]["cause"]
    silence = {"matchers": ["rule=a"], "comment": "c", "ends_at": "2026-11-23T12:00:00Z"}
    made = {"method": "POST", "body": orjson.dumps(silence)}
    assert "created_by is missing" in await api.refused("/v1/silences", 400, **made)


async def test_at_another_worker(start: StartApi) -> None:
    http = settings(cluster_secrets=SECRETS)
    one, other = await start(holder(numbers=HERE), http), await start(failing(AWAY, THERE), http)
    one.holder.others.update(dict.fromkeys(THERE, other.url))
    alert_id = alert_of(other.holder)
    async with committing(other.holder):
        answer = await write(one, f"/v1/alerts/{alert_id}/acknowledge")
    assert answer["alert"]["acknowledged"]["by"] == "crm"
    assert (await cause_of(other, alert_id))["token"] == "crm"


async def test_a_client_cannot_say_that_it_is_somebody_else(start: StartApi) -> None:
    api = await start(failing(), settings(cluster_secrets=SECRETS))
    alert_id = alert_of(api.holder)
    headers = {**TOKEN, "Campaign-Streams-Asker": "pagerduty;root"}
    async with committing(api.holder):
        await write(api, f"/v1/alerts/{alert_id}/acknowledge?by=ana", headers=headers)
    cause = await cause_of(api, alert_id)
    assert (cause["token"], cause["reason"]) == ("crm", "acknowledged")


async def test_a_silence_and_its_end(start: StartApi) -> None:
    for named, created_by in (({}, "crm"), ({"created_by": "ana"}, "ana")):
        api = await start(holder(), settings())
        body = {"matchers": ["rule=a"], "comment": "c", "ends_at": "2026-11-23T12:00:00Z", **named}
        made = (await write(api, "/v1/silences", body=orjson.dumps(body)))["silence"]
        assert (made["created_by"], made["created_token"]) == (created_by, "crm")
        target = f"/v1/silences/{made['silence_id']}"
        ended = (await write(api, target, method="DELETE"))["silence"]
        assert (ended["ended_by"], ended["ended_token"]) == ("crm", "crm")


async def test_a_silence_that_is_ended_without_a_token(start: StartApi) -> None:
    api = await start(holder())
    body = {"matchers": ["rule=a"], "comment": "c", "ends_at": "2026-11-23T12:00:00Z"}
    named = orjson.dumps({**body, "created_by": "ana"})
    made = (await write(api, "/v1/silences", body=named, headers={}))["silence"]
    target = f"/v1/silences/{made['silence_id']}"
    ended = (await write(api, target, method="DELETE", headers={}))["silence"]
    assert (ended["ended_by"], ended["ended_token"]) == ("api", None)


async def test_replays(start: StartApi) -> None:
    api = await start(holder(), settings())
    outbox = api.holder.here[0].deliveries
    for number in range(2):
        delivery = delivery_of(f"a{number}.1")
        outbox.add(delivery)
        outbox.give_up(delivery, "no")
    one = (await write(api, "/v1/deliveries/a0.1.ops/replay"))["delivery"]
    assert one["replayed_by"] == "crm"
    await write(api, "/v1/receivers/ops/replay")
    found = {each.delivery_id: each.replayed_by for each in outbox.deliveries()}
    assert found == {"a0.1.ops": "crm", "a1.1.ops": "crm"}


def test_what_a_worker_says_of_whoever_asks() -> None:
    for asker in (Asker(), Asker("crm"), Asker(via="pagerduty"), Asker("crm", "pagerduty")):
        assert Asker.of_header(asker.header) == asker
    assert Asker().header == ""
