"""The description of the API is what the API does."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from streams.api.routes import ROUTES
from streams.api.streaming import EVENT_STREAM
from streams.domain.partition_settings import PartitionSettings
from streams.receivers.pagerduty_webhooks import Signatures
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_groups import BY_CAUSE, view_of
from tests.support.pagerduty import signed, webhook
from tests.support.partitions import (
    PARTITION_SETTINGS,
    MemoryHolder,
    commit_all,
    counts,
    holder,
)
from tests.support.silences import silence_of

T0 = int(NOW) - 60
NEW_SILENCE = orjson.dumps(
    {
        "matchers": ["rule=a"],
        "created_by": "anna",
        "comment": "new certificate",
        "ends_at": "2026-11-23T11:00:00Z",
    }
)


def held(settings: PartitionSettings = PARTITION_SETTINGS) -> MemoryHolder:
    made = holder(settings=settings)
    made.add("a/b", T0, counts({"SUCCESS": 60, "FAILURE": 40, "NEW": 1}, "0"))
    made.add("held back", T0, counts({"QUIET_TIME": 1}), counts({"opened_notification": 1}))
    for partition in made.here.values():
        partition.evaluate(NOW)
        for delivery in partition.deliveries.deliveries():
            partition.deliveries.failed(delivery, "HTTP 500", None)
    return made


async def document(api: RunningApi) -> dict[str, Any]:
    described: dict[str, Any] = await api.get("/openapi.json")
    return described


async def test_every_route_is_described_and_nothing_else(start: StartApi) -> None:
    paths = (await document(await start(holder())))["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_path_parameters_are_those_of_the_path(start: StartApi) -> None:
    paths = (await document(await start(holder())))["paths"]
    for path, methods in paths.items():
        for operation in methods.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert all(p["description"] for p in operation["parameters"])


async def test_operation_ids_are_unique(start: StartApi) -> None:
    paths = (await document(await start(holder())))["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


async def test_every_answer_is_as_described(start: StartApi) -> None:
    settings = replace(PARTITION_SETTINGS, group_view=view_of(BY_CAUSE))
    api = await start(held(), settings=settings, pagerduty={"ops": Signatures(["secret"])})
    described = await document(api)
    alert_id = (await api.get("/v1/alerts"))["alerts"][0]["alert_id"]
    delivery_id = (await api.get("/v1/deliveries"))["deliveries"][0]["delivery_id"]
    values = {
        "campaign_id": "a%2Fb",
        "start": str(T0 * 1000),
        "alert_id": alert_id,
        "delivery_id": delivery_id,
        "file": "dashboard.html",
        "name": "ops",
        "silence_id": "known",
        "app_id": "app",
        "group_id": BY_CAUSE.group_id,
    }
    api.silences.book.put(silence_of("known", "rule=a", now=NOW))
    told = webhook(alert_id)
    new_name = b'{"name": "Spring sale"}'
    bodies = {"/v1/silences": NEW_SILENCE, "/v1/receivers/{name}/pagerduty": told}
    for path in ("/v1/campaigns/{campaign_id}/name", "/v1/apps/{app_id}/name"):
        bodies[path] = new_name
    api.names.campaigns.book.restore(b"a/b", new_name)
    api.names.apps.book.restore(b"app", new_name)
    queries = {
        "/v1/campaigns": "?recent=5&sort=-failure_rate",
        "/v1/campaigns/{campaign_id}/windows": "?by=treatment_id,channel_type",
        "/v1/alerts/{alert_id}/acknowledge": "?by=ana&comment=on+it",
    }
    committing = asyncio.create_task(commit_all(api.holder, NOW))
    for route in ROUTES:
        if route.answer == (EVENT_STREAM,):
            continue  # it has no end
        target = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path)
        answer = await api.ask(
            target + queries.get(route.path, ""),
            method=route.method,
            headers=signed(told, "secret"),
            body=bodies.get(route.path, b"") if route.body else b"",
        )
        assert answer.status == route.status, (target, answer.body)
        operation = described["paths"][route.path][route.method.lower()]
        described_types = operation["responses"][str(answer.status)]["content"]
        media_type = answer.headers["Content-Type"].partition(";")[0]
        assert media_type in described_types or "*/*" in described_types
        content = described_types.get(media_type, {})
        if "schema" in content:
            validator(described, content["schema"]).validate(answer.json)
    committing.cancel()


@pytest.mark.parametrize(
    ("target", "path", "method"),
    [
        ("/v1/campaigns?sort=x", "/v1/campaigns", "GET"),
        ("/v1/campaigns/none", "/v1/campaigns/{campaign_id}", "GET"),
        ("/v1/deliveries/none/replay", "/v1/deliveries/{delivery_id}/replay", "POST"),
        ("/v1/alerts/none/acknowledge?by=a", "/v1/alerts/{alert_id}/acknowledge", "POST"),
        ("/v1/alerts/none/acknowledge", "/v1/alerts/{alert_id}/acknowledge", "POST"),
    ],
)
async def test_problems_are_as_described(
    start: StartApi, target: str, path: str, method: str
) -> None:
    api = await start(holder())
    described = await document(api)
    answer = await api.ask(target, method=method)
    responses = described["paths"][path][method.lower()]["responses"]
    content = responses[str(answer.status)]["content"]["application/problem+json"]
    validator(described, content["schema"]).validate(answer.json)


def validator(described: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """References point into the document, so it is the schema, with one more to begin from."""
    return Draft202012Validator({**described, **schema})


@pytest.mark.parametrize("base_url", ["http://localhost:8080", None])
async def test_the_schema_of_transitions_fits_transitions(
    start: StartApi, base_url: str | None
) -> None:
    settings = replace(PARTITION_SETTINGS, base_url=base_url)
    made = held(settings)
    api = await start(made, settings=settings)
    schema = await api.get("/v1/schemas/alert-transition")
    decided = [
        delivery.transition for p in made.here.values() for delivery in p.deliveries.deliveries()
    ]
    assert decided
    for encoded in decided:
        transition = orjson.loads(bytes(encoded))
        Draft202012Validator(schema).validate(transition)
        assert (transition["data"]["links"] is None) is (base_url is None)
    (alert, *_) = (await api.get("/v1/alerts"))["alerts"]
    described = await document(api)
    validator(described, described["components"]["schemas"]["Alert"]).validate(alert)
