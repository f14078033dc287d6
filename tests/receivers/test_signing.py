"""Signatures, checked with the independent `standardwebhooks` package."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from streams.receivers.signing import signed_headers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"summary": "ünïcode"}'


def test_the_example_of_the_specification() -> None:
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [OLD]
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_is_rotated_receivers_with_either_accept(secret: str) -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [NEW, OLD])

    Webhook(secret).verify(BODY, headers)


def test_another_body_does_not_fit() -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [OLD])

    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY + " ", headers)


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64"])
def test_a_wrong_secret_is_refused_and_not_named(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as raised:
        signed_headers("a.1", 0, b"", [secret])

    assert secret.removeprefix("whsec_") not in str(raised.value)
