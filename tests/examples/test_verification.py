"""The example programs take what the product signs, and nothing else.

What is wrong with a request, and what is not, is also what the tests of all libraries in
https://github.com/standard-webhooks/standard-webhooks try, at commit
b2fa7b8719fb75d326b591077f5d1b385cfcdfae; those know no `v1a`.
"""

import contextlib
import hashlib
import hmac
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.domain import transitions
from streams.receivers.signing import signed_headers
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.examples import EXAMPLES, NEEDS, Example, HttpExample, why_missing
from tests.support.transitions import firing


def pair(seed: int) -> tuple[str, str]:
    """A private key, and its public one."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    raw = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    private, public = (b64encode(each).decode() for each in raw)
    return f"whsk_{private}", f"whpk_{public}"


SHARED, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PRIVATE, PUBLIC = pair(1)
OTHER_PRIVATE, OTHER_PUBLIC = pair(2)
WRONG = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
ALERT = firing()
ALERT.data.summary = "ünïcode \\ $(id) `id` *"

Signed = tuple[dict[str, str], bytes]
Change = Callable[[dict[str, str], bytes], Signed]


def signed(*secrets: str, age: int = 0) -> Signed:
    """Return headers and body of a webhook, as the product makes it so many seconds ago."""
    delivery = delivery_of("alert-1.1", transitions.encode(ALERT).decode())
    # The URL goes unused.
    made = webhook_to("https://a.example/", "ops", *secrets).render(delivery, time.time() - age)
    return dict(made.headers), made.body


def having(**headers: str) -> Change:
    """Replace headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda before, body: ({**before, **named}, body)


def without(name: str) -> Change:
    """Take a header away."""
    return lambda headers, body: ({n: v for n, v in headers.items() if n != name}, body)


def with_signature(change: Callable[[str], str]) -> Change:
    """Replace the signatures."""
    name = "webhook-signature"
    return lambda headers, body: ({**headers, name: change(headers[name])}, body)


def with_body(change: Callable[[bytes], bytes]) -> Change:
    """Replace the body."""
    return lambda headers, body: (headers, change(body))


def now() -> str:
    """The time as it stands in a header."""
    return str(int(time.time()))


def unchanged(headers: dict[str, str], body: bytes) -> Signed:
    return headers, body


class Case(NamedTuple):
    """A request, and the keys of who gets it."""

    keys: tuple[str, ...]
    secrets: tuple[str, ...]
    change: Change = unchanged
    age: int = 0


V1, V1A = ((SHARED,), (SHARED,)), ((PUBLIC,), (PRIVATE,))
SEVERAL = (OTHER, OTHER_PUBLIC, PUBLIC, SHARED)

GENUINE = {
    "v1": Case(*V1),
    "v1a": Case(*V1A),
    "v1, with several keys": Case(SEVERAL, (SHARED,)),
    "v1a, with several keys": Case(SEVERAL, (PRIVATE,)),
    "v1 of several signatures": Case((SHARED,), (OTHER_PRIVATE, OTHER, SHARED)),
    "v1a of several signatures": Case((PUBLIC,), (OTHER_PRIVATE, OTHER, PRIVATE)),
    "one among wrong ones": Case(
        *V1, with_signature(lambda right: f"{WRONG} v2,{WRONG[3:]} {right} {WRONG}")
    ),
    "some minutes ago": Case(*V1, age=240),
    "some minutes ahead": Case(*V1, age=-240),
}
FORGED = {
    "another secret": Case((SHARED,), (OTHER,)),
    "another private key": Case((PUBLIC,), (OTHER_PRIVATE,)),
    "other keys than these": Case((PUBLIC, SHARED), (OTHER_PRIVATE, OTHER)),
    "another body, v1": Case(*V1, with_body(lambda body: body.replace(b"firing", b"resolved"))),
    "another body, v1a": Case(*V1A, with_body(lambda body: body.replace(b"firing", b"resolved"))),
    "a space more": Case(*V1, with_body(lambda body: body + b" ")),
    "a newline more": Case(*V1A, with_body(lambda body: body + b"\n")),
    "no body": Case(*V1, with_body(lambda _: b"")),
    "another id, v1": Case(*V1, having(webhook_id="alert-1.2")),
    "another id, v1a": Case(*V1A, having(webhook_id="alert-1.2")),
    "an id with a part of the time": Case(
        *V1,
        lambda headers, body: (
            {**headers, "webhook-id": f"alert-1.1.{headers['webhook-timestamp']}"},
            body,
        ),
    ),
    "an old one": Case(*V1, age=400),
    "an old one, v1a": Case(*V1A, age=400),
    "an early one": Case(*V1, age=-4000),
    "an old one with a new time": Case(
        *V1,
        lambda headers, body: ({**headers, "webhook-timestamp": str(int(time.time()))}, body),
        400,
    ),
    "no id": Case(*V1, without("webhook-id")),
    "no time": Case(*V1, without("webhook-timestamp")),
    "no signature": Case(*V1, without("webhook-signature")),
    "nothing": Case(*V1, lambda _, body: ({}, body)),
    **{
        f"the time {time_!r}": Case(*V1, having(webhook_timestamp=time_))
        for time_ in ("", "hello", "-1", "1e9", "161426533.0", "9" * 40, "0x10", "08", "a[$(id)]")
    },
    **{
        f"the signature {signature!r}": Case(*V1, having(webhook_signature=signature))
        for signature in ("", "v1", "v1,", "v1a,", ",", WRONG, f"{WRONG} {WRONG}", "v1,*", "v1,ü")
    },
    **{
        f"the signature {signature!r}, v1a": Case(*V1A, having(webhook_signature=signature))
        for signature in ("", "v1a", "v1a,", "v1,", "v1a,AAAA", "v1a," + "A" * 86 + "==", "v1a,?")
    },
    "the beginning of a signature, v1": Case(*V1, with_signature(lambda right: right[:8])),
    "the beginning of a signature, v1a": Case(*V1A, with_signature(lambda right: right[:40])),
    "v1 that says v1a": Case((PUBLIC, SHARED), (SHARED,), with_signature(lambda s: "v1a" + s[2:])),
    "v1a that says v1": Case((PUBLIC, SHARED), (PRIVATE,), with_signature(lambda s: "v1" + s[3:])),
    "the public key as a secret": Case((PUBLIC,), ("whsec_" + PUBLIC.removeprefix("whpk_"),)),
}

in_each_language = pytest.mark.parametrize("example", NEEDS, indirect=True)
each_receiver = pytest.mark.parametrize("example", ["python", "javascript"], indirect=True)


@in_each_language
@pytest.mark.parametrize("name", GENUINE)
async def test_what_is_genuine_is_taken(example: Example, name: str) -> None:
    case = GENUINE[name]
    headers, body = case.change(*signed(*case.secrets, age=case.age))
    assert await example.takes(case.keys, headers, body)


@in_each_language
@pytest.mark.parametrize("name", FORGED)
async def test_what_is_forged_is_refused(example: Example, name: str) -> None:
    case = FORGED[name]
    headers, body = case.change(*signed(*case.secrets, age=case.age))
    assert not await example.takes(case.keys, headers, body)


@in_each_language
async def test_the_bytes_are_what_is_signed(example: Example) -> None:
    """Nothing is lost at either end of a body, and none of it is taken for text."""
    body = (
        b'\n {"type": "campaign.alert.firing", "data": {"summary": "\\u0000 %s %b \xc3\xbc"}}\r\n\n'
    )
    for secret, key in ((SHARED, SHARED), (PRIVATE, PUBLIC)):
        headers = signed_headers("a.1", int(time.time()), body, [secret])
        assert await example.takes([key], headers, body)
        assert not await example.takes([key], headers, body.rstrip())


def hmac_of_nothing(body: bytes) -> dict[str, str]:
    """What anybody can sign for a secret without bytes."""
    at = now()
    digest = hmac.digest(b"", f"a.1.{at}.".encode() + body, hashlib.sha256)
    signature = f"v1,{b64encode(digest).decode()}"
    return {"webhook-id": "a.1", "webhook-timestamp": at, "webhook-signature": signature}


@in_each_language
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(["whsec_"], id="no bytes"),
        pytest.param(["whsec_MfKQ9r8GKYqr"], id="too few"),
        pytest.param(["whsec_????????????????????????????????"], id="no base64"),
        pytest.param(["whpk_" + b64encode(b64decode(PUBLIC[5:])[:31]).decode()], id="half a key"),
        pytest.param(["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], id="no prefix"),
        pytest.param([], id="none"),
    ],
)
async def test_a_key_that_is_none_opens_nothing(example: Example, keys: Sequence[str]) -> None:
    body = b'{"type": "campaign.alert.firing", "data": {"summary": ""}}'
    try:
        taken = await example.takes(keys, hmac_of_nothing(body), body)
    except AssertionError:
        return  # it does not start
    assert not taken


@each_receiver
async def test_a_repeated_attempt_is_one_alert(example: HttpExample) -> None:
    receiver = example.with_keys(PUBLIC)
    body = b'{"type": "campaign.alert.firing", "data": {"summary": "once"}}'
    for at in (0, 1):
        headers = signed_headers("repeated.1", int(time.time()) - at, body, [PRIVATE])
        assert await receiver.status_of(headers, body) == 204
    assert receiver.alerts.count("campaign.alert.firing once") == 1


@each_receiver
async def test_what_is_too_long_or_no_webhook_stops_nothing(example: HttpExample) -> None:
    receiver = example.with_keys(SHARED)
    headers, body = signed(SHARED)
    with contextlib.suppress(ConnectionError):  # it may hang up before it was sent all
        assert await receiver.status_of(headers, body + b" " * 1_000_000) == 413
    assert await receiver.status_of({}, b"", method="GET") in {405, 501}
    assert await receiver.status_of(headers, body) == 204


@pytest.mark.skipif(why_missing("go") is not None, reason="go is not installed")
def test_go_is_formatted() -> None:
    command = ["gofmt", "-l", str(EXAMPLES)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b""


def test_every_example_is_tried() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert programs == {"receiver.py", "receiver.mjs", "verify.go", "verify.sh"}
