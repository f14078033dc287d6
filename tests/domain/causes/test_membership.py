"""Which alerts belong to a cause, and which are about a fault of their own."""

from typing import NamedTuple

import pytest

from streams.domain.causes.evidence import CampaignSends, Place, Sends, evidence_of
from streams.domain.causes.finding import Values
from streams.domain.causes.membership import (
    SOONER,
    AlertSends,
    Attribution,
    Reason,
    attribute,
)

GCM: Place = ("GCM", "GCM")
EMAIL: Place = ("EMAIL", "CUSTOM")


class Named(NamedTuple):
    """A cause."""

    values: Values
    cause_id: str = "cause"
    status: str | None = None
    since: int = 600


CHANNEL = Named({"channel_type": "GCM"})
APP = Named({"app_id": "a"}, "app")


def alert(
    gcm: int, email: int, *, since: int = 600, status: str = "F", of_a_treatment: bool = False
) -> AlertSends:
    """An alert of a campaign with 100 attempts in each of two places, 1 % of hits as usual."""
    hits = {GCM: gcm, EMAIL: email}
    seen = {place: Sends(100, {status: count} if count else {}) for place, count in hits.items()}
    usual = {place: Sends(1_000, {"F": 10}) for place in seen}
    parts = evidence_of(CampaignSends("c", "a", seen, usual))
    return AlertSends("alert", "a", since, parts, of_a_treatment)


def test_without_causes() -> None:
    assert attribute(alert(90, 1), []) == Attribution(None, Reason.NO_CAUSE)


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (alert(90, 1), Reason.EXPLAINED),
        (alert(90, 0), Reason.EXPLAINED),
        (alert(1, 90), Reason.OTHER_SLICE),
        (alert(0, 0), Reason.OTHER_SLICE),
        # All of its sends are broken, most in the slice.
        (alert(90, 60), Reason.OWN_FAULT),
        # A small rise elsewhere is overdispersion.
        (alert(90, 12), Reason.EXPLAINED),
        (alert(90, 1, of_a_treatment=True), Reason.OWN_FAULT),
        (alert(90, 1, since=600 - SOONER), Reason.EXPLAINED),
        (alert(90, 1, since=599 - SOONER), Reason.BEGAN_BEFORE),
    ],
)
def test_one_channel(of: AlertSends, reason: Reason) -> None:
    found = attribute(of, [CHANNEL])
    assert found.cause_id == ("cause" if reason == Reason.EXPLAINED else None)
    assert found.reason == reason


def test_what_causes_explain_in_part_is_undecided() -> None:
    assert attribute(alert(90, 60), [CHANNEL]).is_undecided
    assert attribute(alert(60, 90), [CHANNEL]).is_undecided
    assert attribute(alert(60, 90), [CHANNEL]).explained == pytest.approx(59 / 148, abs=0.01)
    assert not attribute(alert(1, 90), [CHANNEL]).is_undecided
    assert not attribute(alert(90, 1), [CHANNEL]).is_undecided
    assert not attribute(alert(90, 1), []).is_undecided


def test_a_few_hits_too_many_elsewhere_may_be_chance() -> None:
    few, many = attribute(alert(40, 12), [CHANNEL]), attribute(alert(90, 60), [CHANNEL])
    assert few.reason == many.reason == Reason.OWN_FAULT
    assert few.is_unsure
    assert not many.is_unsure
    assert not attribute(alert(90, 1, of_a_treatment=True), [CHANNEL]).is_unsure
    assert not attribute(alert(90, 12), [CHANNEL]).is_unsure


def test_hits_where_little_is_known_of_what_is_usual_are_no_fault() -> None:
    seen = {GCM: Sends(63, {"F": 20}), EMAIL: Sends(40, {"F": 4})}
    found = {}
    for known in (100, 1_000):
        usual = {
            GCM: Sends(2 * known, {"F": known // 50}),
            EMAIL: Sends(known, {"F": known // 500}),
        }
        parts = evidence_of(CampaignSends("c", "a", seen, usual))
        found[known] = attribute(AlertSends("alert", "a", 600, parts), [CHANNEL]).reason
    assert found == {100: Reason.EXPLAINED, 1_000: Reason.OWN_FAULT}


def test_a_cause_of_another_app() -> None:
    assert attribute(alert(90, 90), [Named({"app_id": "b"})]).reason == Reason.OTHER_SLICE


def test_everything_explains_every_alert() -> None:
    assert attribute(alert(90, 60), [Named({})]).cause_id == "cause"


def test_what_several_causes_break_is_of_the_one_with_most_of_it() -> None:
    email = Named({"delivery_type": "CUSTOM"}, "email")
    assert attribute(alert(90, 60), [email, CHANNEL]).cause_id == "cause"
    assert attribute(alert(60, 90), [email, CHANNEL]).cause_id == "email"
    # The same to both: by id, in whichever order they come.
    assert attribute(alert(90, 1), [CHANNEL, APP]).cause_id == "app"
    assert attribute(alert(90, 1), [APP, CHANNEL]).cause_id == "app"


def test_another_status_is_another_cause() -> None:
    timeouts = Named({"channel_type": "GCM"}, status="TIMEOUT")
    assert attribute(alert(90, 1, status="TIMEOUT"), [timeouts]).reason == Reason.EXPLAINED
    assert attribute(alert(90, 1), [timeouts]).reason == Reason.OTHER_STATUS
