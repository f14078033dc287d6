"""What a rule looks at, and what it sees there."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.counts import Cell
from streams.domain.detectors.history import Observation
from streams.domain.detectors.threshold import Threshold
from streams.domain.partial_counts import Dimensions
from streams.domain.rules import HitsOfAny, Rule, Scope, ScopeKind
from tests.support.partitions import STATUS_GROUPS

RULE = Rule("failure-spike", frozenset({"FAILURE", "HOOK_FAILURE"}), Threshold(0.1))


def sent(
    outcome: str, treatment: str | None = None, channel: str | None = None, endpoint: str = "GCM"
) -> Dimensions:
    return Dimensions(
        outcome=outcome, treatment_id=treatment, delivery_type=channel, channel_type=endpoint
    )


def cell(**sends: int) -> Cell:
    return Cell("app-1", {sent(outcome): count for outcome, count in sends.items()}, {})


@pytest.mark.parametrize(
    ("campaigns", "apps", "campaign_id", "app_id", "expected"),
    [
        (("*",), ("*",), "c", None, True),
        (("*",), ("*",), "", "a", True),
        (("promo-*",), ("*",), "promo-1", "a", True),
        (("promo-*",), ("*",), "Promo-1", "a", False),
        (("x", "promo-?"), ("*",), "promo-1", "a", True),
        (("promo-?",), ("*",), "promo-12", "a", False),
        (("*",), ("shop",), "c", "shop", True),
        (("*",), ("shop",), "c", "other", False),
        (("*",), ("shop",), "c", None, False),
        (("promo-*",), ("shop",), "promo-1", "other", False),
        (("a/*",), ("*",), "a/b/c", None, True),
        (("[[]x]",), ("*",), "[x]", None, True),
    ],
)
def test_which_campaigns(
    campaigns: tuple[str, ...],
    apps: tuple[str, ...],
    campaign_id: str,
    app_id: str | None,
    expected: bool,
) -> None:
    rule = replace(RULE, campaigns=campaigns, apps=apps)

    assert rule.matches(campaign_id, app_id) == expected


def test_hits_are_the_rules_statuses_and_attempts_all_but_the_suppressed() -> None:
    found = RULE.observe(
        "c", cell(SUCCESS=90, FAILURE=5, HOOK_FAILURE=3, THROTTLED=2, QUIET_TIME=700), STATUS_GROUPS
    )

    assert found == {
        Scope("c"): Observation(
            100, 8, {"FAILURE": 5, "HOOK_FAILURE": 3, "SUCCESS": 90, "THROTTLED": 2}
        )
    }


def test_a_status_that_nobody_knows_is_an_attempt() -> None:
    (seen,) = RULE.observe("c", cell(SUCCESS=1, BRAND_NEW=1), STATUS_GROUPS).values()

    assert (seen.attempts, seen.hits) == (2, 0)


def test_engagement_is_no_attempt() -> None:
    opened = Cell("app-1", {}, {sent("opened_notification"): 7})

    assert RULE.observe("c", opened, STATUS_GROUPS) == {}


def test_only_suppressed_sends_say_nothing() -> None:
    assert RULE.observe("c", cell(QUIET_TIME=7), STATUS_GROUPS) == {}


SPLIT = Cell(
    "app-1",
    {
        sent("SUCCESS", "0", "EMAIL"): 10,
        sent("FAILURE", "0", "EMAIL", "APNS"): 1,
        sent("FAILURE", "1", "EMAIL"): 4,
        sent("SUCCESS", "1", None, "SMS"): 20,
        sent("SUCCESS", None, "PUSH"): 40,
    },
    {},
)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("campaign", {Scope("c"): (75, 5)}),
        (
            "treatment",
            {
                Scope("c", treatment_id="0"): (11, 1),
                Scope("c", treatment_id="1"): (24, 4),
                Scope("c"): (40, 0),
            },
        ),
        (
            "channel",
            {
                Scope("c", channel_type="APNS"): (1, 1),
                Scope("c", channel_type="SMS"): (20, 0),
                Scope("c", channel_type="GCM"): (54, 4),
            },
        ),
    ],
)
def test_scopes(scope: ScopeKind, expected: dict[Scope, tuple[int, int]]) -> None:
    found = replace(RULE, scope=scope).observe("c", SPLIT, STATUS_GROUPS)

    assert {where: (seen.attempts, seen.hits) for where, seen in found.items()} == expected


optional = st.none() | st.sampled_from("01")
dimensions = st.builds(
    sent,
    st.sampled_from(["SUCCESS", "FAILURE", "THROTTLED", "HOLDOUT", "BRAND_NEW"]),
    optional,
    optional,
)


@given(
    st.dictionaries(dimensions, st.integers(1, 1000)),
    st.sampled_from(["campaign", "treatment", "channel"]),
)
def test_scopes_share_out_what_there_is(sends: dict[Dimensions, int], scope: ScopeKind) -> None:
    found = replace(RULE, scope=scope).observe("c", Cell(None, sends, {}), STATUS_GROUPS)

    attempts = sum(n for d, n in sends.items() if d.outcome != "HOLDOUT")
    assert sum(seen.attempts for seen in found.values()) == attempts
    assert sum(seen.hits for seen in found.values()) == sum(
        n for d, n in sends.items() if d.outcome == "FAILURE"
    )
    for seen in found.values():
        assert 0 <= seen.hits <= seen.attempts == Counter(seen.counts).total()


def test_a_hit_of_any_rule() -> None:
    throttled = Rule("throttled", frozenset({"THROTTLED"}), Threshold(0.1))
    hits = HitsOfAny([RULE, throttled], STATUS_GROUPS)
    assert all(status in hits for status in ("FAILURE", "HOOK_FAILURE", "THROTTLED"))
    assert not any(status in hits for status in ("SUCCESS", "UNKNOWN", "NEVER_SEEN"))
    odd = Rule("odd", frozenset(), Threshold(0.1), unrecognised=True)
    assert "NEVER_SEEN" in HitsOfAny([RULE, odd], STATUS_GROUPS)
    assert "SUCCESS" not in HitsOfAny([RULE, odd], STATUS_GROUPS)
