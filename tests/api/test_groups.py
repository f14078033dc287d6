"""Groups are listed in pages and shown, by any worker: it reads them from the groups topic."""

from dataclasses import replace
from hashlib import sha256

import msgspec

from streams.configuration.http import HttpSettings
from streams.domain.causes import exchange
from streams.domain.causes.exchange import GroupState, GroupStateKey, GroupView, ToldReceiver
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import PARTITION_SETTINGS, holder

BY_CAUSE = GroupState(
    group_id="by-cause",
    reason="cause",
    rule="failure-spike",
    severity="critical",
    labels={},
    dimensions={"channel_type": "GCM", "app_id": None},
    status="TIMEOUT",
    starts_at=NOW - 60,
    firing=11,
    joined=12,
    receivers={"ops": ToldReceiver(2, NOW - 5), "pager": ToldReceiver(0, None)},
)
BY_LABELS = GroupState(
    group_id="by labels/☃",
    reason="labels",
    rule=None,
    severity="warning",
    labels={"app_id": "shop", "team": ""},
    dimensions=None,
    status=None,
    starts_at=NOW - 30,
    firing=0,
    joined=2,
    receivers={},
    ended_at=NOW - 1,
)


def view_of(*states: GroupState) -> GroupView:
    view = GroupView()
    for state in states:
        key = exchange.encode(GroupStateKey(state.rule or "labels:", state.group_id))
        view.restore(key, exchange.encode(state))
    return view


async def test_listed_filtered_and_shown(start: StartApi) -> None:
    settings = replace(PARTITION_SETTINGS, group_view=view_of(BY_CAUSE, BY_LABELS))
    api = await start(holder(), settings=settings)
    newest, oldest = (await api.get("/v1/groups"))["groups"]
    assert oldest == {
        "group_id": "by-cause",
        "state": "firing",
        "reason": "cause",
        "title": "channel GCM of no app",
        "rule": "failure-spike",
        "severity": "critical",
        "labels": {},
        "cause": {"dimensions": {"channel_type": "GCM", "app_id": None}, "status": "TIMEOUT"},
        "starts_at": rfc3339(NOW - 60),
        "ends_at": None,
        "firing": 11,
        "joined": 12,
        "receivers": [
            {"receiver": "ops", "notifications": 2, "told_at": rfc3339(NOW - 5)},
            {"receiver": "pager", "notifications": 0, "told_at": None},
        ],
        "links": {
            "alerts": f"{settings.base_url or ''}/v1/alerts?group_id=by-cause",
            "page": f"{settings.base_url or ''}/#/alerts?group_id=by-cause",
        },
    }
    assert (newest["state"], newest["title"]) == ("ended", "app_id=shop, no team")
    assert newest["cause"] is None
    assert newest["links"]["alerts"].endswith("?group_id=by%20labels%2F%E2%98%83")
    for query, found in (
        ("state=firing", [oldest]),
        ("state=ended", [newest]),
        ("reason=labels", [newest]),
        ("reason=rate-limit", []),
        ("rule=failure-spike", [oldest]),
    ):
        assert (await api.get(f"/v1/groups?{query}"))["groups"] == found
    assert (await api.get("/v1/groups/by%20labels%2F%E2%98%83"))["group"] == newest
    assert (await api.ask("/v1/groups/nobody")).status == 404


async def test_in_pages(start: StartApi) -> None:
    states = [
        msgspec.structs.replace(BY_CAUSE, group_id=f"g{at}", starts_at=NOW - at) for at in range(5)
    ]
    api = await start(holder(), settings=replace(PARTITION_SETTINGS, group_view=view_of(*states)))
    found, cursor = [], ""
    for _ in range(3):
        page = await api.get(f"/v1/groups?limit=2{cursor}")
        found += [each["group_id"] for each in page["groups"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [f"g{at}" for at in range(5)]
    assert page["next_cursor"] is None


async def test_of_a_worker_that_has_not_read_them_yet(start: StartApi) -> None:
    settings = replace(PARTITION_SETTINGS, group_view=view_of(BY_CAUSE))
    api = await start(holder(), settings=settings)
    api.health.groups_are_read = False
    for target in ("", "/by-cause", "/none"):
        assert "are being read" in await api.refused(f"/v1/groups{target}", 503)
    api.health.groups_are_read = True
    assert len((await api.get("/v1/groups"))["groups"]) == 1


async def test_tokens_with_patterns_see_groups_that_are_all_theirs(start: StartApi) -> None:
    campaigns = {
        "theirs": (("spring-1", "shop"), ("spring-2", None)),
        "mixed": (("autumn-1", "shop"), ("spring-1", "shop")),
        "other": (("autumn-1", "shop"),),
        "none": (),
        "unknown": None,
    }
    states = [
        msgspec.structs.replace(BY_CAUSE, group_id=name, campaigns=listed)
        for name, listed in campaigns.items()
    ]
    tokens = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), **patterns}
        for name, patterns in (
            ("all", {}),
            ("spring", {"campaigns": ["spring-*"]}),
            ("both", {"campaigns": ["spring-*"], "apps": ["shop"]}),
        )
    ]
    http = HttpSettings.model_validate({"port": 0, "anonymous": "never", "tokens": tokens})
    settings = replace(PARTITION_SETTINGS, group_view=view_of(*states))
    api = await start(holder(), http, settings=settings)
    for token, seen in (("all", set(campaigns)), ("spring", {"theirs"}), ("both", set())):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await api.ask("/v1/groups", headers=headers)
        assert {each["group_id"] for each in answer.json["groups"]} == seen
        for name in campaigns:
            one = await api.ask(f"/v1/groups/{name}", headers=headers)
            assert one.status == (200 if name in seen else 404)
