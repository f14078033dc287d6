"""What a token's patterns hide does not exist for it: in lists, by id, and to be changed."""

from hashlib import sha256
from typing import Any

import orjson
import pytest

from streams.api.routes import ROUTES
from streams.api.visibility import VISIBLE_HEADER, Visibility, read_header
from streams.configuration.http import HttpSettings
from streams.domain.counts import OTHER
from streams.domain.partial_counts import partition_of
from streams.domain.rules import Rule
from streams.domain.silences.silence import CompiledSilence
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.event_stream import reading
from tests.support.partitions import (
    FAILURE_SPIKE,
    MemoryHolder,
    counts,
    holder,
    partition_settings,
)
from tests.support.silences import silence_of

T0 = int(NOW) - 60
TOKENS = {
    "all": {},
    "spring": {"campaigns": ["spring-*"]},
    "club": {"apps": ["club"]},
    "both": {"campaigns": ["spring-*", "exact"], "apps": ["club", "none"]},
}
APPS = {"spring-1": "shop", "spring-2": "club", "autumn-1": "club", "exact": "shop", "lone": None}
SEEN = {
    "all": set(APPS),
    "spring": {"spring-1", "spring-2"},
    "club": {"spring-2", "autumn-1"},
    "both": {"spring-2"},
}
SECRETS = ((), ("0" * 32,))


def http(secrets: tuple[str, ...] = ()) -> HttpSettings:
    tokens = [
        {
            "name": name,
            "sha256": sha256(name.encode()).hexdigest(),
            "scopes": ["read", "write"],
            **patterns,
        }
        for name, patterns in TOKENS.items()
    ]
    return HttpSettings.model_validate({"port": 0, "tokens": tokens, "cluster_secrets": secrets})


async def two_workers(start: StartApi, secrets: tuple[str, ...] = ()) -> list[RunningApi]:
    """Two workers, of which each holds two of four partitions; each campaign has an alert."""
    one = await start(holder(numbers=(0, 2)), http(secrets))
    other = await start(holder(numbers=(1, 3)), http(secrets))
    one.holder.others.update(dict.fromkeys((1, 3), other.url))
    other.holder.others.update(dict.fromkeys((0, 2), one.url))
    for name, app in APPS.items():
        home = (one, other)[partition_of(name, 4) % 2].holder
        home.add(name, T0, counts({"SUCCESS": 60, "FAILURE": 40}), app_id=app)
    one.holder.add(OTHER, T0, counts({"SUCCESS": 1}), app_id=None, partition=0)
    for api in (one, other):
        for partition in api.holder.here.values():
            partition.evaluate(NOW)
    return [one, other]


def as_(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def names_in(api: RunningApi, token: str, target: str) -> list[str]:
    answer = await api.ask(target, headers=as_(token))
    assert answer.status == 200, answer.body
    assert answer.json["missing_partitions"] == []
    (items,) = (value for value in answer.json.values() if isinstance(value, list) and value)
    return [each["campaign_id"] for each in items]


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("token", TOKENS)
async def test_lists(start: StartApi, token: str, secrets: tuple[str, ...]) -> None:
    for api in await two_workers(start, secrets):
        for target in ("/v1/alerts", "/v1/deliveries"):
            assert set(await names_in(api, token, target)) == SEEN[token]
        others = {OTHER} if token == "all" else set()
        assert set(await names_in(api, token, "/v1/campaigns")) == SEEN[token] | others


async def test_pages_are_as_long_as_without_patterns(start: StartApi) -> None:
    api, _ = await two_workers(start)
    found, cursor = [], ""
    while True:
        answer = await api.ask(f"/v1/alerts?limit=1{cursor}", headers=as_("spring"))
        found += [each["campaign_id"] for each in answer.json["alerts"]]
        if answer.json["next_cursor"] is None:
            break
        assert len(answer.json["alerts"]) == 1
        cursor = f"&cursor={answer.json['next_cursor']}"
    assert sorted(found) == ["spring-1", "spring-2"]


async def of_each(api: RunningApi) -> dict[str, list[tuple[str, str]]]:
    """What there is of each campaign: methods and targets."""
    alerts = (await api.ask("/v1/alerts", headers=as_("all"))).json["alerts"]
    targets = {}
    for each in alerts:
        campaign, alert = each["campaign_id"], each["alert_id"]
        targets[campaign] = [
            ("GET", f"/v1/campaigns/{campaign}"),
            ("GET", f"/v1/campaigns/{campaign}/windows"),
            ("GET", f"/v1/campaigns/{campaign}/windows/{T0}000"),
            ("GET", f"/v1/alerts/{alert}"),
            ("GET", f"/v1/deliveries/{alert}.1.ops"),
        ]
    return targets


def without(text: str, *names: str) -> str:
    for name in names:
        text = text.replace(name, "ID")
    return text


@pytest.mark.parametrize("secrets", SECRETS)
async def test_what_is_hidden_is_answered_as_what_never_was(
    start: StartApi, secrets: tuple[str, ...]
) -> None:
    for api in await two_workers(start, secrets):
        for campaign, targets in (await of_each(api)).items():
            for token in TOKENS:
                for method, target in targets:
                    answer = await api.ask(target, method=method, headers=as_(token))
                    if campaign in SEEN[token]:
                        assert answer.status == 200, (token, target)
                        continue
                    assert answer.status == 404, (token, target)
                    known = target.split("/")[3]
                    nowhere = target.replace(known, "never-was")
                    never = await api.ask(nowhere, method=method, headers=as_(token))
                    assert without(answer.json["detail"], known) == without(
                        never.json["detail"], "never-was"
                    )


async def test_what_is_hidden_cannot_be_changed(start: StartApi) -> None:
    api, other = await two_workers(start, SECRETS[1])
    alerts = (await api.ask("/v1/alerts", headers=as_("all"))).json["alerts"]
    ids = {each["campaign_id"]: each["alert_id"] for each in alerts}
    for target in (
        f"/v1/alerts/{ids['autumn-1']}/acknowledge?by=anna",
        f"/v1/deliveries/{ids['autumn-1']}.1.ops/replay",
    ):
        for each in (api, other):
            await each.refused(target, 404, method="POST", headers=as_("spring"))
    for each in (api, other):
        for partition in each.holder.here.values():
            for delivery in partition.deliveries.deliveries():
                partition.deliveries.failed(delivery, "410 Gone", None)
    answer = await api.ask("/v1/receivers/ops/replay", method="POST", headers=as_("spring"))
    assert (answer.json["matched"], answer.json["replayed"]) == (2, 2)


async def test_what_is_about_all_needs_a_token_for_all(start: StartApi) -> None:
    api, _ = await two_workers(start)
    for method, target in (
        ("GET", "/metrics"),
        ("GET", "/v1/receivers"),
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/receivers/ops/enable"),
    ):
        for token in ("spring", "club"):
            detail = await api.refused(target, 403, method=method, headers=as_(token))
            assert "patterns" in detail
        assert (await api.ask(target, method=method, headers=as_("all"))).status == 200
    for target in ("/", "/docs", "/openapi.json", "/v1/schemas/alert-transition"):
        assert (await api.ask(target, headers=as_("both"))).status == 200


async def test_the_stream_and_changes_have_the_deliveries_of_what_is_seen(
    start: StartApi,
) -> None:
    one, other = await two_workers(start, SECRETS[1])
    for token, seen in SEEN.items():
        async with reading(one.url, {"type": "delivery"}, token=token) as events:
            await events.nothing()
            for api in (one, other):
                for partition in api.holder.here.values():
                    for delivery in partition.deliveries.deliveries():
                        partition.deliveries.failed(delivery, "HTTP 500", NOW + 60)
                api.commit()
            came = [each.data for each in await events.nothing() if each.kind == "delivery"]
        assert {each["campaign_id"] for each in came} == seen, token
        assert {each["app_id"] for each in came} == {APPS[name] for name in seen}
        answer = await one.ask("/v1/changes", headers=as_(token))
        assert answer.status == 200
        assert {each["campaign_id"] for each in answer.json["deliveries"]} <= seen


def test_a_route_is_closed_to_who_may_not_see_all_unless_it_says_that_it_leaves_out() -> None:
    closed = {(route.method, route.path) for route in ROUTES if route.scope and not route.for_some}
    # Everybody is shown the names that are given.
    names = ("/v1/campaigns/{campaign_id}/name", "/v1/apps/{app_id}/name")
    assert closed == {
        ("GET", "/metrics"),
        ("GET", "/v1/receivers"),
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/receivers/{name}/enable"),
        *((method, path) for method in ("GET", "PUT", "DELETE") for path in names),
    }


async def test_rules_show_no_patterns_of_others(start: StartApi) -> None:
    rules = tuple(
        Rule(
            name,
            frozenset({"FAILURE"}),
            FAILURE_SPIKE.detector,
            campaigns=campaigns,
            apps=apps,
        )
        for name, campaigns, apps in (
            ("all", ("*",), ("*",)),
            ("mixed", ("spring-a*", "autumn-*"), ("*",)),
            ("theirs", ("autumn-*",), ("*",)),
            ("club", ("*",), ("club",)),
        )
    )
    api = await start(holder(), http(), settings=partition_settings(rules=rules))
    seen = {}
    for token in TOKENS:
        found = (await api.ask("/v1/rules", headers=as_(token))).json["rules"]
        seen[token] = {each["name"]: each["match"]["campaigns"] for each in found}
    assert list(seen["all"]) == ["all", "mixed", "theirs", "club"]
    assert seen["spring"] == {"all": ["*"], "mixed": ["spring-a*"], "club": ["*"]}
    assert list(seen["club"]) == ["all", "mixed", "theirs", "club"]


SILENCES = {
    "listed": ["campaign_id=spring-1"],
    "listed-app": ["campaign_id=~spring-1|spring-2", "app_id=club"],
    "app": ["app_id=club"],
    "open": ["campaign_id=~spring-.*"],
    "negative": ["campaign_id!=autumn-1"],
    "theirs": ["campaign_id=~spring-1|autumn-1"],
    "rule": ["rule=failure-spike"],
}
SILENCED = {
    "all": set(SILENCES),
    "spring": {"listed", "listed-app"},
    "club": {"listed-app", "app"},
    "both": {"listed-app"},
}


@pytest.mark.parametrize("token", TOKENS)
async def test_silences_that_are_about_others_as_well(start: StartApi, token: str) -> None:
    api = await start(holder(), http())
    for name, matchers in SILENCES.items():
        await api.silences.make(silence_of(name, *matchers, now=NOW))
    listed = (await api.ask("/v1/silences", headers=as_(token))).json["silences"]
    assert {each["silence_id"] for each in listed} == SILENCED[token]
    for name, matchers in SILENCES.items():
        sees = name in SILENCED[token]
        target = f"/v1/silences/{name}"
        assert (await api.ask(target, headers=as_(token))).status == (200 if sees else 404)
        ended = await api.ask(target, method="DELETE", headers=as_(token))
        assert ended.status == (200 if sees else 404)
        silence = api.silences.book.get(name)
        assert silence is not None
        assert (silence.silence.ended_at is not None) is sees
        wish = {
            "matchers": matchers,
            "created_by": "anna",
            "comment": "x",
            "ends_at": rfc3339(NOW + 60),
        }
        made = await api.ask(
            "/v1/silences", method="POST", headers=as_(token), body=orjson.dumps(wish)
        )
        assert made.status == (201 if sees else 403), made.body


@pytest.mark.parametrize("secrets", SECRETS)
async def test_nobody_sees_more_by_what_they_write_of_themselves(
    start: StartApi, secrets: tuple[str, ...]
) -> None:
    api, _ = await two_workers(start, secrets)
    for visible in (Visibility(("*",), ("club",)), Visibility(("autumn-*",), ("*",))):
        headers = {VISIBLE_HEADER: visible.header(), **as_("spring")}
        answer = await api.ask("/v1/alerts", headers=headers)
        found = {each["campaign_id"] for each in answer.json["alerts"]}
        assert found == SEEN["spring"]


async def test_a_header_that_is_none_is_refused(start: StartApi) -> None:
    api = await start(holder(), http())
    for value in ("x", "=", "bm90", "W10=", "ü", "W1siYSJdXQ=="):
        await api.refused("/v1/alerts", 400, headers={VISIBLE_HEADER: value, **as_("all")})


async def test_a_campaign_that_no_app_claims_in_its_newest_window(start: StartApi) -> None:
    held: MemoryHolder = holder()
    held.add("c", T0 - 60, counts({"SUCCESS": 1}), app_id="club")
    held.add("c", T0, counts({"SUCCESS": 1}), app_id=None)
    api = await start(held, http())
    for target in ("/v1/campaigns/c", "/v1/campaigns/c/windows"):
        assert (await api.ask(target, headers=as_("club"))).status == 200
        await api.refused(target, 404, headers=as_("both"))


@pytest.mark.parametrize(
    ("patterns", "value", "matches"),
    [
        (("a*",), "abc", True),
        (("a*",), "ba", False),
        (("a", "b"), "b", True),
        (("[ab]?",), "bx", True),
        (("a*",), "a\nb", True),
        (("a",), "a\n", False),
        (("*[!a]",), "ba", False),
        (("a.b",), "axb", False),
    ],
)
def test_patterns_match_the_whole_id(patterns: tuple[str, ...], value: str, matches: bool) -> None:
    assert Visibility(campaigns=patterns).sees(value, None) is matches
    assert Visibility(apps=patterns).sees("any", value) is matches


def test_an_empty_value_lists_alerts_without_an_app() -> None:
    silence = CompiledSilence(silence_of("s", "app_id=", now=NOW))
    assert not Visibility(apps=("club",)).sees_silence(silence)


def test_it_survives_its_header() -> None:
    visible = Visibility(("ünï-*", "☃"), ("a,b;c",))
    assert read_header(visible.header()) == visible
    assert Visibility().header() == ""


def test_settings_that_are_none() -> None:
    digest = "0" * 64
    wrongs: tuple[dict[str, Any], ...] = (
        {"campaigns": []},
        {"campaigns": [""]},
        {"apps": ["x" * 3001]},
        {"expires_at": "tomorrow"},
        {"expires_at": "2027-01-01T00:00:00"},
        {"expires_at": 5},
    )
    for wrong in wrongs:
        token: dict[str, Any] = {"name": "t", "sha256": digest, **wrong}
        with pytest.raises(ValueError, match=r"expected|should have at least"):
            HttpSettings.model_validate({"tokens": [token]})
