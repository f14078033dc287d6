from typing import Any

import pytest

from streams.configuration.doubts import doubts
from streams.configuration.models import Configuration


def of(**values: Any) -> list[str]:
    return doubts(Configuration.model_validate(values))


def rule(*statuses: str) -> dict[str, Any]:
    return {"name": "mine", "statuses": list(statuses)}


def test_the_defaults_leave_no_doubt() -> None:
    assert of() == []


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("FAILUR", "did you mean FAILURE?"),
        ("failure", "did you mean FAILURE?"),
        ("HOOK-FAILURE", "did you mean HOOK_FAILURE?"),
        ("BOUNCED", "if it is your own, add it to a group"),
    ],
)
def test_a_rule_that_watches_an_unknown_status(status: str, hint: str) -> None:
    assert of(rules=[rule("SUCCESS", status)]) == [
        f"rule mine watches {status}, which is no known status: {hint}"
    ]


def test_a_status_of_one_s_own_is_known_once_it_is_in_a_group() -> None:
    assert of(statuses={"throttled": ["THROTTLED", "SLOW"]}, rules=[rule("SLOW")]) == []
    (line,) = of(statuses={"throttled": ["THROTTLED", "SLOWED"]}, rules=[rule("SLOWE")])
    assert line.endswith("did you mean SLOWED?")


def test_a_vendor_s_status_that_is_in_no_group_is_known() -> None:
    assert of(statuses={"throttled": []}, rules=[rule("THROTTLED")]) == []


def test_a_group_in_which_a_vendor_s_status_seems_misspelt() -> None:
    assert of(statuses={"throttled": ["THROTLED"], "success": ["SUCCESS", "DELIVERED"]}) == [
        "statuses.throttled has THROTLED, and no group has THROTTLED: did you mean THROTTLED?"
    ]


def test_a_status_in_a_group_that_only_resembles_one_of_another() -> None:
    assert of(statuses={"throttled": ["THROTTLED", "THROTTLED_2"]}) == []


def test_workers_that_cannot_ask_each_other() -> None:
    http = {"advertised_url": "http://10.0.0.7:8080"}
    (line,) = of(http=http)
    assert "http.cluster_secrets is not" in line
    assert of(http=http | {"cluster_secrets": ["0" * 32]}) == []
    assert of(http=http | {"anonymous": "always"}) == []
