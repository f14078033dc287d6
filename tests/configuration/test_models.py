import base64
from typing import Any

import pytest
from pydantic import ValidationError

from streams.configuration.alerting import RuleSettings
from streams.configuration.counting import WindowSettings
from streams.configuration.models import Configuration
from streams.configuration.translation import partition_settings_of
from streams.domain.formats import pinpoint
from streams.domain.formats.registry import FORMATS
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import Rate
from streams.domain.windows import DAY, Rollup, RollupStep
from streams.receivers.webhook import WebhookReceiver
from tests.support import flat_format

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def receiver(**changes: Any) -> dict[str, Any]:
    return {"name": "ops", "url": "https://ops.example/", "secrets": [SECRET], **changes}


PAGER = {"name": "pager", "kind": "pagerduty", "routing_key": "0" * 32}


def threshold(**settings: Any) -> dict[str, Any]:
    return {"name": "a", "group": "failure", "detector": {"kind": "threshold", **settings}}


def test_the_two_default_rules() -> None:
    failure, throttled = Configuration().rules
    assert (failure.name, failure.group, failure.severity) == (
        "failure-spike",
        "failure",
        "critical",
    )
    assert (throttled.name, throttled.group, throttled.severity) == (
        "throttled-spike",
        "throttled",
        "warning",
    )
    for rule in (failure, throttled):
        assert rule.detector.model_dump() == {
            "kind": "spike",
            "sensitivity": 0.5,
            "min_rise": 2.5,
            "usual_up_to": 0.02,
            "patience": 45.0,
        }
        assert (rule.for_, rule.receivers) == (0.0, ("*",))


def test_nothing_can_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Configuration().http.port = 1


def test_the_recovery_level_follows_the_level() -> None:
    rule = RuleSettings.model_validate(
        {"name": "a", "group": "failure", "detector": {"kind": "threshold", "level": 0.02}}
    )
    assert rule.detector.model_dump()["recovery_level"] == 0.01


def rollups(*each: dict[str, str]) -> dict[str, Any]:
    return {"windows": {"rollups": list(each)}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kafka": {"bootstrap_servers": ["kafka"]}}, "expected host:port"),
        ({"kafka": {"bootstrap_servers": ["kafka://a:1"]}}, "expected host:port"),
        ({"kafka": {"bootstrap_servers": ["a:70000"]}}, "expected host:port"),
        ({"kafka": {"bootstrap_servers": []}}, "at least 1"),
        ({"kafka": {"session_timeout": 0}}, "longer than 0s"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN", "username": "a"}}}, "PLAIN needs password"),
        ({"kafka": {"sasl": {"username": "a"}}}, "mechanism null does not use username"),
        (
            {"kafka": {"sasl": {"mechanism": "OAUTHBEARER", "aws_region": "eu-west-1"}}},
            "needs kafka.tls.enabled: true",
        ),
        ({"kafka": {"tls": {"ca_file": __file__}}}, "set kafka.tls.enabled: true"),
        ({"kafka": {"tls": {"enabled": True, "ca_file": "/no/such"}}}, "cannot be read: No such"),
        ({"kafka": {"tls": {"enabled": True, "key_file": __file__}}}, "needs certificate_file"),
        ({"topics": {"source": "a b"}}, "expected a topic name"),
        ({"topics": {"alerts": "campaign-events"}}, "is also topics.source"),
        ({"topics": {"partitions": 0}}, "greater than or equal to 1"),
        ({"windows": {"size": 0}}, "greater than or equal to 1"),
        ({"windows": {"size": "1500ms"}}, "whole number of seconds"),
        ({"windows": {"retention": "1m"}}, "at least size [+] grace, which is 90s"),
        ({"windows": {"idle_timeout": 0}}, "longer than 0s"),
        (rollups({"step": "1h"}), "Field required"),
        (rollups({"step": "90s", "retention": "2d"}), "multiple of 1m, and longer"),
        (rollups({"step": "60s", "retention": "2d"}), "multiple of 1m, and longer"),
        (rollups({"step": "1h", "retention": "1d"}), "longer than 1d"),
        (rollups({"step": "1h", "retention": "2d"}, {"step": "90m", "retention": "3d"}), "of 1h"),
        (rollups({"step": "1h", "retention": "3d"}, {"step": "1d", "retention": "3d"}), "than 3d"),
        (rollups({"step": "1h", "retention": "2d", "time_zone": "Europe/Berlin"}), "a step of 1d"),
        (rollups({"step": "1d", "retention": "2d", "time_zone": "Mars/Base"}), "IANA name"),
        (
            rollups(
                {"step": "1h", "retention": "2d"},
                {"step": "1d", "retention": "3d", "time_zone": "Asia/Kolkata"},
            ),
            "days begin at multiples of 1h, or a shorter step before",
        ),
        (
            rollups(
                {"step": "1d", "retention": "2d", "time_zone": "Europe/Berlin"},
                {"step": "7d", "retention": "3d"},
            ),
            "none after days of Europe/Berlin",
        ),
        ({"statuses": {"throttled": ["FAILURE"]}}, "FAILURE is listed twice"),
        ({"source": {"format": "pinpiont"}}, "expected pinpoint, did you mean pinpoint[?]"),
        ({"source": {"format": "x"}}, "expected pinpoint "),
        ({"flush": {"interval": "30s"}}, "less than kafka.transaction_timeout"),
        ({"http": {"port": 65536}}, "less than or equal to 65535"),
        ({"http": {"port": "8080"}}, "valid integer"),
        ({"http": {"tokens": [{"name": "a", "sha256": "ab"}]}}, "64 hexadecimal digits"),
        ({"http": {"tokens": [{"name": "a", "sha256": "0" * 64}] * 2}}, "a is there 2 times"),
        ({"http": {"advertised_url": "http://0.0.0.0:8080"}}, "every interface"),
        ({"http": {"host": "http://localhost"}}, "without port, such as 127.0.0.1"),
        ({"http": {"host": "0.0.0.0"}}, "expected at least one, as http.host 0.0.0.0 is not"),  # noqa: S104
        ({"http": {"host": "worker.example"}}, "or http.anonymous: always"),
        ({"http": {"cluster_secrets": ["short"]}}, "expected 32 characters or more"),
        ({"http": {"trusted_proxies": ["10.0.0.1/8"]}}, "has host bits set"),
        ({"delivery": {"retry_schedule": ["5s", "4s"]}}, "never get shorter"),
        ({"delivery": {"retry_schedule": ["0s"]}}, "longer than 0s"),
        ({"delivery": {"circuit": {"failures": -1}}}, "greater than or equal to 0"),
        ({"delivery": {"proxy": "https://proxy.example/"}}, "expected a proxy such as http"),
        ({"delivery": {"proxy": "http://u:p@proxy.example/"}}, "without user and password"),
        ({"delivery": {"proxy_credentials": "nobody"}}, "expected user:password"),
        ({"delivery": {"no_proxy": ["opps"]}, "receivers": [receiver()]}, "opps, which does not"),
        ({"delivery": {"tell": "opps"}, "receivers": [receiver()]}, "known: ops"),
        (
            {"delivery": {"tell": "pager"}, "receivers": [PAGER]},
            "tell needs one of kind cloudevents, slack, webhook, not pagerduty",
        ),
        ({"delivery": {"allow_networks": ["10.0.0.1/8"]}}, "has host bits set"),
        ({"receivers": [receiver(kind="fax")]}, "not known, known kinds: webhook"),
        ({"receivers": [receiver(url="http://a/")]}, "expected https, or delivery.allow_http"),
        ({"receivers": [receiver(url="https://u:p@a/")]}, "without user and password"),
        ({"receivers": [receiver(url="ftp://a/")]}, "expected a URL"),
        ({"receivers": [receiver(secrets=["abc"])]}, "expected whsec_"),
        ({"receivers": [receiver(secrets=["whsec_%%%"])]}, "valid base64"),
        ({"receivers": [receiver(secrets=["whsec_YWJj"])]}, "24 to 64 bytes, this one has 3"),
        ({"receivers": [receiver(secrets=[])]}, "at least 1"),
        ({"receivers": [receiver(), receiver()]}, "ops is there 2 times"),
        ({"rules": [{"name": "a"}]}, "either group or statuses"),
        ({"rules": [{"name": "a", "group": "failure", "statuses": ["X"]}]}, "and not both"),
        ({"rules": [{"name": "a", "group": "suppressed"}]}, "'unrecognised'"),
        ({"rules": [{"name": "a", "statuses": ["EXPIRED"]}]}, "EXPIRED is suppressed"),
        ({"rules": [{"name": "a/b", "group": "failure"}]}, "should match pattern"),
        (
            {"rules": [threshold(recovery_level=0.2)]},
            "at most detector.level, which is 0.1",
        ),
        ({"rules": [threshold(level=1.0)]}, "less than 1"),
        (
            {"rules": [{"name": "a", "group": "failure", "detector": {"kind": "magic"}}]},
            "known kinds: spike",
        ),
        (
            {"receivers": [receiver()], "rules": [rule := {"name": "a", "group": "failure"}] * 2},
            "a is there 2 times",
        ),
        (
            {"receivers": [receiver()], "rules": [{**rule, "receivers": ["opps"]}]},
            "rule a names receiver opps, which does not exist .did you mean ops",
        ),
        (
            {"receivers": [receiver()], "rules": [{**rule, "receivers": ["sales"]}]},
            "known receivers: ops",
        ),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Configuration.model_validate(values)


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a second event format, while a test needs it."""
    monkeypatch.setitem(FORMATS, flat_format.FORMAT.name, flat_format.FORMAT)
    return flat_format.FORMAT.name


def test_groups_that_are_left_out_have_the_statuses_of_the_event_format(flat: str) -> None:
    values: dict[str, Any] = {"source": {"format": flat}, "statuses": {"throttled": ["slowed"]}}
    assert Configuration.model_validate(values).statuses.by_group() == {
        "success": ("delivered",),
        "failure": ("bounced", "invalid"),
        "throttled": ("slowed",),
        "suppressed": (),
    }
    assert Configuration().statuses.by_group() == pinpoint.STATUSES._asdict()
    assert Configuration.model_validate({"statuses": {"failure": []}}).statuses.failure == ()


def test_a_status_of_the_event_format_is_in_one_group_only(flat: str) -> None:
    values: dict[str, Any] = {"source": {"format": flat}, "statuses": {"success": ["bounced"]}}
    with pytest.raises(ValidationError, match="bounced is listed twice: in success and in failure"):
        Configuration.model_validate(values)


def test_the_formats_of_a_refusal_are_those_of_the_registry(flat: str) -> None:
    with pytest.raises(ValidationError, match=f"expected {flat} or pinpoint, did you mean {flat}"):
        Configuration.model_validate({"source": {"format": "flatt"}})


def test_secrets_are_not_printed() -> None:
    configuration = Configuration.model_validate({"receivers": [receiver()]})
    assert SECRET not in repr(configuration)
    assert SECRET not in configuration.model_dump_json()
    (ops,) = configuration.receivers
    assert isinstance(ops, WebhookReceiver)
    assert ops.secrets[0].get_secret_value() == SECRET
    with pytest.raises(ValidationError) as caught:
        WebhookReceiver.model_validate(receiver(secrets=[SECRET + "x"]))
    assert SECRET not in str(caught.value)


def test_receivers_that_group() -> None:
    configuration = Configuration.model_validate(
        {
            "receivers": [
                receiver(name="each", group_by="none"),
                receiver(name="usual"),
                receiver(name="own", group_by="cause", group_wait="3s"),
            ]
        }
    )
    assert partition_settings_of(configuration, None).grouping == {
        "usual": GroupTimes(group_wait=5.0, group_interval=60.0),
        "own": GroupTimes(group_wait=3.0, group_interval=60.0),
    }


def test_receivers_that_group_by_labels_and_have_a_limit() -> None:
    configuration = Configuration.model_validate(
        {
            "receivers": [
                receiver(name="labels", group_by=["app_id", "rule"], group_wait="3s"),
                receiver(name="limited", group_by="none", rate_limit="30/1m"),
            ]
        }
    )
    settings = partition_settings_of(configuration, None)
    assert settings.grouping == {"labels": GroupTimes(group_wait=3.0, group_interval=60.0)}
    assert settings.group_labels == {"labels": ("app_id", "rule")}
    assert settings.rate_limits["limited"].bucket.rate == Rate(30, 60.0)
    shown = configuration.model_dump(mode="json")["receivers"]
    assert [each["rate_limit"] for each in shown] == [None, "30/1m"]


@pytest.mark.parametrize(
    "changes",
    [
        {"group_by": []},
        {"group_by": "app_id"},
        {"group_by": ["app_id", "app_id"]},
        {"group_by": ["a b"]},
        {"group_by": [1]},
        {"group_by": [f"label{at}" for at in range(11)]},
        {"rate_limit": "30"},
        {"rate_limit": "0/1m"},
        {"rate_limit": "3/0s"},
        {"rate_limit": "3/minute"},
        {"rate_limit": 30},
    ],
)
def test_groupings_and_limits_that_are_none(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"expected cause, none|such as 30/1m"):
        Configuration.model_validate({"receivers": [receiver(**changes)]})


def test_alertmanager_groups_by_itself() -> None:
    item = {"kind": "alertmanager", "name": "a", "url": "https://a.example/", "group_by": "cause"}
    with pytest.raises(ValidationError, match="group_by"):
        Configuration.model_validate({"receivers": [item]})


@pytest.mark.parametrize(
    ("windows", "steps"),
    [
        ({}, [3_600, 86_400]),
        ({"size": "7s"}, []),
        ({"size": "1h"}, [86_400]),
        ({"size": "1d", "retention": "2d"}, []),
        ({"retention": "90d"}, [86_400]),
        ({"retention": "23h"}, []),
        ({"rollups": []}, []),
        ({"rollups": [{"step": "5m", "retention": "2d"}]}, [300]),
    ],
)
def test_without_rollups_there_are_those_that_fit(
    windows: dict[str, Any], steps: list[int]
) -> None:
    policy = WindowSettings.model_validate(windows).policy()
    assert [each.step.seconds for each in policy.rollups] == steps


def test_days_of_a_zone_are_made_of_what_holds_them_whole() -> None:
    india = {"step": "1d", "retention": "400d", "time_zone": "Asia/Kolkata"}
    values = {"rollups": [{"step": "30m", "retention": "30d"}, india]}
    half_hours, days = WindowSettings.model_validate(values).policy().rollups
    assert half_hours == Rollup(RollupStep(1_800), 30 * DAY)
    assert days == Rollup(RollupStep(DAY, "Asia/Kolkata"), 400 * DAY)
