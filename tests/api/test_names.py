"""Names of campaigns and apps: given, shown beside ids, taken away."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from streams.domain.names import Names, encode
from streams.errors import UnavailableError
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.names import MemoryNames
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder

T0 = int(NOW) - 60


async def started(start: StartApi, held: MemoryHolder | None = None) -> RunningApi:
    settings = replace(PARTITION_SETTINGS, names=Names())
    held = held or holder(settings=settings)
    return await start(held, settings=settings)


async def put(api: RunningApi, target: str, name: object, **options: Any) -> Any:
    body = json.dumps({"name": name}).encode()
    return await api.ask(target, method="PUT", body=body, **options)


@pytest.mark.parametrize("target", ["/v1/campaigns/a%2Fb/name", "/v1/apps/a%2Fb/name"])
async def test_a_name_is_given_changed_and_taken_away(start: StartApi, target: str) -> None:
    api = await started(start)
    assert "has no name" in await api.refused(target, 404)
    assert (await put(api, target, " Spring sale ")).json == {"id": "a/b", "name": "Spring sale"}
    assert await api.get(target) == {"id": "a/b", "name": "Spring sale"}
    assert (await put(api, target, "Summer")).status == 200
    answer = await api.ask(target, method="DELETE")
    assert (answer.status, answer.json["name"]) == (200, "Summer")
    await api.refused(target, 404)
    await api.refused(target, 404, method="DELETE")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": ""}', 400),
        (b'{"name": "%s"}' % (b"x" * 201), 400),
        (b'{"name": "  "}', 422),
        (b'{"name": "\\u202ex"}', 422),
        (b'{"name": "a", "b": 1}', 400),
        (b"{}", 400),
        (b"", 400),
    ],
)
async def test_what_is_no_name(start: StartApi, body: bytes, status: int) -> None:
    api = await started(start)
    await api.refused("/v1/campaigns/a/name", status, method="PUT", body=body)
    await api.refused("/v1/campaigns/a/name", 404)


async def test_brokers_that_are_away(start: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryNames, "_write", _fail)
    api = await started(start)
    answer = await put(api, "/v1/campaigns/a/name", "A")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_of_a_worker_that_has_not_read_them_yet(
    start: StartApi, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    api = await started(start)
    monkeypatch.setattr(api.names.campaigns, "is_read", False)
    told = await api.refused("/v1/campaigns/a/name", 503, method=method)
    assert "are being read" in told
    await api.refused("/v1/apps/a/name", 404, method=method)


def _fail(*_: object) -> None:
    raise UnavailableError("brokers are away")


async def test_names_stand_beside_ids(start: StartApi) -> None:
    settings = replace(PARTITION_SETTINGS, names=Names())
    settings.names.campaigns.restore(b"a/b", encode("Spring sale"))
    settings.names.apps.restore(b"app", encode("Shop"))
    held = holder(settings=settings)
    held.add("a/b", T0, counts({"SUCCESS": 60, "FAILURE": 40}, "0"))
    held.add("nameless", T0, counts({"SUCCESS": 60}))
    for partition in held.here.values():
        partition.evaluate(NOW)
    api = await start(held, settings=settings)
    row, other = (await api.get("/v1/campaigns"))["campaigns"]
    assert (row["campaign_name"], row["app_name"]) == ("Spring sale", "Shop")
    assert "campaign_name" not in other
    described = await api.get("/v1/campaigns/a%2Fb")
    assert (described["campaign_name"], described["app_name"]) == ("Spring sale", "Shop")
    assert described["alerts"][0]["campaign_name"] == "Spring sale"
    for target in ("/v1/campaigns/a%2Fb/windows", f"/v1/campaigns/a%2Fb/windows/{T0 * 1000}"):
        assert (await api.get(target))["campaign_name"] == "Spring sale"
    (alert,) = (await api.get("/v1/alerts"))["alerts"]
    assert (alert["campaign_name"], alert["app_name"]) == ("Spring sale", "Shop")
    assert "in campaign Spring sale (a/b): 40 of 100" in alert["summary"]
    (delivery,) = (await api.get("/v1/deliveries"))["deliveries"]
    assert delivery["campaign_name"] == "Spring sale"
    whole = await api.get(f"/v1/deliveries/{delivery['delivery_id']}")
    assert whole["delivery"]["campaign_name"] == "Spring sale"
    rows = await api.ask("/v1/campaigns", headers={"Accept": "text/csv"})
    named = [each["campaign_name"] for each in csv.DictReader(io.StringIO(rows.body.decode()))]
    assert named == ["Spring sale", ""]
    (sent,) = [d for p in held.here.values() for d in p.deliveries.deliveries()]
    assert json.loads(bytes(sent.transition))["data"]["campaign_name"] == "Spring sale"
