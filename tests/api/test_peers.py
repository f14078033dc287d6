"""Signatures of workers: what they cover, and how long they hold."""

import pytest

from streams.api.peers import PARTITIONS_HEADER, SIGNATURE_HEADER, VALID_FOR, Peers
from streams.api.problems import ProblemError
from streams.configuration.http import HttpSettings
from tests.api.conftest import NOW

KEY, OTHER = "k" * 32, "o" * 32
URL = "http://10.0.0.7:8080"
TARGET = "/v1/campaigns?limit=1"


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def peers(*keys: str, url: str | None = URL, clock: Clock | None = None) -> Peers:
    settings = HttpSettings.model_validate({"cluster_secrets": keys})
    return Peers(settings, url, clock or Clock())


def signed(by: Peers, **changes: str) -> dict[str, str]:
    what = {"method": "GET", "url": URL, "target": TARGET, "partitions": "1,3", **changes}
    return {
        PARTITIONS_HEADER: what["partitions"],
        SIGNATURE_HEADER: by.request(**what).header,
    }


def test_a_request_is_signed_once() -> None:
    asked, asking = peers(KEY), peers(KEY, url=None)
    headers = signed(asking)
    nonce = asked.asked_by("GET", TARGET, headers)
    assert nonce
    assert nonce in headers[SIGNATURE_HEADER]
    with pytest.raises(ProblemError, match="used before"):
        asked.asked_by("GET", TARGET, headers)


@pytest.mark.parametrize(
    ("method", "target", "changes"),
    [
        ("POST", TARGET, {}),
        ("GET", "/v1/campaigns?limit=2", {}),
        ("GET", TARGET, {"method": "POST"}),
        ("GET", TARGET, {"url": "http://10.0.0.8:8080"}),
        ("GET", TARGET, {"target": "/"}),
    ],
)
def test_a_signature_is_of_one_request_to_one_worker(
    method: str, target: str, changes: dict[str, str]
) -> None:
    headers = signed(peers(KEY), **changes)
    with pytest.raises(ProblemError, match="not by any of this worker's"):
        peers(KEY).asked_by(method, target, headers)


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {**headers, PARTITIONS_HEADER: "1"},
        lambda headers: {SIGNATURE_HEADER: headers[SIGNATURE_HEADER]},
        lambda headers: {**headers, SIGNATURE_HEADER: headers[SIGNATURE_HEADER][:-1]},
        lambda headers: {**headers, SIGNATURE_HEADER: headers[SIGNATURE_HEADER][:-1] + "x"},
        lambda headers: {**headers, SIGNATURE_HEADER: ""},
        lambda headers: {**headers, SIGNATURE_HEADER: "v1;1;" + "0" * 32 + ";" + "0" * 64},
        lambda headers: {**headers, SIGNATURE_HEADER: "\udcff\u0661"},
        lambda headers: signed(peers(OTHER)),  # noqa: ARG005 - by a secret of its own
    ],
)
def test_what_was_changed_is_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(ProblemError, match="the signature of a worker") as refused:
        peers(KEY).asked_by("GET", TARGET, change(signed(peers(KEY))))
    assert refused.value.status == 401


@pytest.mark.parametrize("late", [VALID_FOR + 1, -VALID_FOR - 1])
def test_a_signature_holds_for_a_while(late: float) -> None:
    clock = Clock()
    asked = peers(KEY, clock=clock)
    headers = signed(peers(KEY))
    clock.now = NOW + late
    with pytest.raises(ProblemError, match="set the clocks"):
        asked.asked_by("GET", TARGET, headers)
    clock.now = NOW + late * (VALID_FOR - 1) / (VALID_FOR + 1)
    assert asked.asked_by("GET", TARGET, headers)


def test_nonces_are_forgotten_once_they_hold_no_more() -> None:
    clock = Clock()
    asked, asking = peers(KEY, clock=clock), peers(KEY, clock=clock)
    for _ in range(200):
        clock.now += 1
        assert asked.asked_by("GET", TARGET, signed(asking))
    assert len(asked._nonces) <= 2 * VALID_FOR


def test_a_client_is_no_worker() -> None:
    assert peers(KEY).asked_by("GET", TARGET, {PARTITIONS_HEADER: "1"}) is None
    assert peers().asked_by("GET", TARGET, signed(peers(KEY))) is None


def test_an_answer_is_of_one_request() -> None:
    asked, asking = peers(OTHER, KEY), peers(KEY, OTHER)
    mac = asked.answer("n", 200, b"{}")
    assert asking.is_answer(mac, "n", 200, b"{}")
    assert not asking.is_answer(mac, "m", 200, b"{}")
    assert not asking.is_answer(mac, "n", 404, b"{}")
    assert not asking.is_answer(mac, "n", 200, b"{ }")
    assert not asking.is_answer("", "n", 200, b"{}")
    assert not peers(KEY).is_answer(mac, "n", 200, b"{}")


def test_a_worker_does_not_ask_itself() -> None:
    assert peers(KEY).why_not_ask(URL) == "it is this worker's own"
    assert peers(KEY).why_not_ask("http://10.0.0.8:8080") is None
    assert "http.cluster_secrets" in (peers().why_not_ask("http://10.0.0.8:8080") or "")
    assert peers().why_not_ask("http://[::1]:8081") is None
